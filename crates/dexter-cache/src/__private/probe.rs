//! What generated code learns from types rather than from names: autoref levels over [`Probe`].
//!
//! A method call tries the receiver by value before it adds or removes a reference. So of several impls of one
//! method, on `&&&Probe<…>`, `&&Probe<…>` and so on, a call through enough references takes the one with the
//! most references that applies: the most special one. That is how `ApiResult<T>` is known for a `Result`.

use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::SharedError;
use crate::load::{Detach, Inline};
use crate::shape::{
    Bare, CacheValue, Counted, Local, LocalValue, OptionOf, Plain, Refused, ResultOf,
    ResultOptionOf, Serde, Shape, Stores,
};
#[cfg(feature = "axum")]
use crate::shape::{JsonOf, OptionJsonOf, ResultJsonOf, ResultOptionJsonOf};
use crate::share::{Alone, Always, Cloned, IfOk, Late, Nothing, Told};

/// Stands for a value of `R` where there is none yet.
#[derive(Debug)]
pub struct Probe<R>(PhantomData<fn() -> R>);

#[allow(clippy::new_without_default, reason = "generated code calls `new`")]
impl<R> Probe<R> {
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The probe of what a closure would return. It is never called: only its type is looked at.
pub const fn probe_of<T, F: FnOnce() -> T>(_: &F) -> Probe<T> {
    Probe::new()
}

/// A value of any type, for closures that are never called.
pub fn any<T>() -> T {
    unreachable!("a closure that is there for its type only was called")
}

/// Asks for all that a value has to be, so that what is missing is reported here, and nowhere else.
#[inline]
pub const fn checked<S: Stores<Stored: CacheValue>>(_: &S) {}

/// As [`checked`], for a value that never leaves the process.
#[inline]
pub const fn checked_local<S: Stores<Stored: LocalValue>>(_: &S) {}

/// A shape that may not be one of `R`.
#[derive(Debug)]
pub struct Claim<R, S>(S, PhantomData<fn() -> R>);

/// The claim that `shape` is one of `R`.
#[inline]
pub const fn claim<R, S>(shape: S) -> Claim<R, S> {
    Claim(shape, PhantomData)
}

/// Hides all of `shape` but what [`Shape`] says: lifetimes in it would keep a future that holds it from being `Send`.
#[inline]
pub fn opaque<R, S: Shape<R>>(shape: &S) -> impl Shape<R> + use<R, S> {
    *shape
}

/// The traits of all levels, without their names: user's types keep theirs beside them.
pub mod levels {
    pub use super::{
        AskFailure0 as _, AskFailure1 as _, AskFailure2 as _, AskLate0 as _, AskLate1 as _,
        AskLaunch0 as _, AskLaunch1 as _, AskNothing0 as _, AskNothing1 as _, AskNothing2 as _,
        AskShape0 as _, AskShape1 as _, AskShape2 as _, AskShape3 as _, AskSuccess0 as _,
        AskSuccess1 as _, Settle0 as _, Settle1 as _,
    };
    pub use crate::__private::own::levels::*;
}

// What of the return type is the value.

macro_rules! shape_level {
    ($name:ident: $($(#[$attr:meta])* [$($generics:ident),*] $probe:ty => $shape:ident<$($part:ty),+> $($counted:ident)?;)+) => {
        pub trait $name {
            type Serde;
            type Local;
            fn dexter_shape(&self) -> Self::Serde;
            fn dexter_local_shape(&self) -> Self::Local;
        }
        $(
            $(#[$attr])*
            impl<$($generics),*> $name for $probe {
                type Serde = $shape<$($part,)* shape_level!(@reach Serde $($counted)?)>;
                type Local = $shape<$($part,)* shape_level!(@reach Local $($counted)?)>;
                #[inline]
                fn dexter_shape(&self) -> Self::Serde {
                    $shape::new()
                }
                #[inline]
                fn dexter_local_shape(&self) -> Self::Local {
                    $shape::new()
                }
            }
        )+
    };
    (@reach $reach:ident) => { $reach };
    (@reach $reach:ident counted) => { Counted<$reach> };
}

shape_level!(AskShape0: [V] Probe<V> => Bare<V>;);
shape_level! { AskShape1:
    [T] &Probe<Arc<T>> => Plain<Arc<T>> counted;
    [V] &Probe<Option<V>> => OptionOf<V>;
    [V, E] &Probe<Result<V, E>> => ResultOf<V, E>;
    #[cfg(feature = "axum")]
    [V] &Probe<axum::Json<V>> => JsonOf<V>;
}
shape_level! { AskShape2:
    [T] &&Probe<Option<Arc<T>>> => OptionOf<Arc<T>> counted;
    [T, E] &&Probe<Result<Arc<T>, E>> => ResultOf<Arc<T>, E> counted;
    [V, E] &&Probe<Result<Option<V>, E>> => ResultOptionOf<V, E>;
    #[cfg(feature = "axum")]
    [T] &&Probe<axum::Json<Arc<T>>> => JsonOf<Arc<T>> counted;
    #[cfg(feature = "axum")]
    [V] &&Probe<Option<axum::Json<V>>> => OptionJsonOf<V>;
    #[cfg(feature = "axum")]
    [V, E] &&Probe<Result<axum::Json<V>, E>> => ResultJsonOf<V, E>;
}
shape_level! { AskShape3:
    [T, E] &&&Probe<Result<Option<Arc<T>>, E>> => ResultOptionOf<Arc<T>, E> counted;
    #[cfg(feature = "axum")]
    [T, E] &&&Probe<Result<axum::Json<Arc<T>>, E>> => ResultJsonOf<Arc<T>, E> counted;
    #[cfg(feature = "axum")]
    [V, E] &&&Probe<Result<Option<axum::Json<V>>, E>> => ResultOptionJsonOf<V, E>;
}

/// What cannot be stored is refused: [`checked`] has said so.
pub trait Settle0 {
    fn dexter_settle(&self) -> Refused;
}

impl<R, S> Settle0 for Claim<R, S> {
    #[inline]
    fn dexter_settle(&self) -> Refused {
        Refused
    }
}

/// What can be stored is.
pub trait Settle1 {
    type Shape;
    fn dexter_settle(&self) -> Self::Shape;
}

impl<R, S: Shape<R>> Settle1 for &Claim<R, S> {
    type Shape = S;

    #[inline]
    fn dexter_settle(&self) -> S {
        self.0
    }
}

macro_rules! level {
    ($name:ident $method:ident: $([$($generics:tt)*] $probe:ty => $answer:ident;)+) => {
        pub trait $name {
            type Answer;
            fn $method(&self) -> Self::Answer;
        }
        $(
            impl<$($generics)*> $name for $probe {
                type Answer = $answer;
                #[inline]
                fn $method(&self) -> $answer {
                    $answer
                }
            }
        )+
    };
}

level!(AskFailure0 dexter_failure: [R] Probe<R> => Alone;);
level!(AskFailure1 dexter_failure: [T, E: From<SharedError> + Display] &Probe<Result<T, E>> => Told;);
level!(AskFailure2 dexter_failure: [T, E: Clone + Send + Sync + 'static] &&Probe<Result<T, E>> => Cloned;);

level!(AskNothing0 dexter_nothing: [R] Probe<R> => Alone;);
level!(AskNothing1 dexter_nothing: [T] &Probe<Option<T>> => Nothing;);
level!(AskNothing2 dexter_nothing: [T, E] &&Probe<Result<Option<T>, E>> => Nothing;);

// How a call says that it took too long.

level!(AskLate0 dexter_late: [R] Probe<R> => Alone;);
level!(AskLate1 dexter_late: [T, E: From<crate::Error>] &Probe<Result<T, E>> => Late;);

// Whether a writer succeeded.

level!(AskSuccess0 dexter_success: [R] Probe<R> => Always;);
level!(AskSuccess1 dexter_success: [T, E] &Probe<Result<T, E>> => IfOk;);

// Whether a load may go on without the caller that began it.

level!(AskLaunch0 dexter_launch: [T] Probe<T> => Inline;);
level!(AskLaunch1 dexter_launch: [T: Send] &Probe<T> => Detach;);

/// Asks that a load can go on without the caller that began it.
#[inline]
pub const fn goes_on<T: GoesOn>(_: &T) {}

/// What [`goes_on`] asks.
#[diagnostic::on_unimplemented(
    message = "this option needs a load that goes on without its caller, and this one cannot",
    label = "an argument, the result or the load itself cannot be sent to another task, or an argument cannot be cloned",
    note = "pass arguments owned or by a reference to what is `Clone`, of types that are `Send`, or leave the option out"
)]
pub trait GoesOn {}

impl GoesOn for Detach {}

/// Asks that there is a `None` in what a function returns.
#[inline]
pub const fn has_none<R: HasNone>() {}

/// What [`has_none`] asks.
#[diagnostic::on_unimplemented(
    message = "there is no `None` in `{Self}`: `none_ttl` is for functions that return `Option<T>` or `Result<Option<T>, E>`",
    label = "leave `none_ttl` out"
)]
pub trait HasNone {}

#[diagnostic::do_not_recommend]
impl<T> HasNone for Option<T> {}

#[diagnostic::do_not_recommend]
impl<T, E> HasNone for Result<Option<T>, E> {}

/// Asks that a function can say that it took too long.
#[inline]
pub const fn fails_late<R: FailsLate>() {}

/// What [`fails_late`] asks.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say that a load took too long: `hard_timeout` is for functions that return a `Result` whose error is `From<dexter_cache::Error>`",
    label = "return such a `Result`, or leave `hard_timeout` out"
)]
pub trait FailsLate {}

#[diagnostic::do_not_recommend]
impl<T, E: From<crate::Error>> FailsLate for Result<T, E> {}
