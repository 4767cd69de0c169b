//! The shapes that a return type can have, and what of it is stored.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kept::{self, Keep, Shared};

/// Takes a return type apart: what is stored, and what is only returned.
pub trait Shape<R>: Copy + Send + Sync {
    /// What is stored.
    type Value: Clone + Send + Sync + 'static;

    /// Whether the function answers requests: its answers carry `Cache-Control`.
    const HANDLER: bool;

    /// The value, or the whole result where it is not to be stored.
    fn split(&self, result: R) -> Result<Self::Value, R>;

    /// The result that has this value.
    fn join(&self, value: Self::Value) -> R;

    /// What of a value that memory holds is the value.
    #[inline]
    fn open(shared: Shared) -> Option<Self::Value> {
        kept::open(&shared)
    }

    /// How the value is kept, and how it becomes bytes.
    fn codec(&self) -> Codec<Self::Value>;

    /// Whether there is a `None` in the result, which can be remembered.
    const NOTHING: bool = false;

    /// Whether this result is that `None`.
    fn is_nothing(&self, _: &R) -> bool {
        false
    }

    /// The result that is that `None`, if there is one.
    fn nothing(&self) -> Option<R> {
        None
    }
}

/// In the place of a value: a `None` that is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nothing;

/// How a value is kept in memory, and how it becomes bytes and comes back; the latter only where it leaves the process.
pub struct Codec<V> {
    /// For memory, and those who wait for it.
    pub keep: Keep<V>,
    /// `None` for values that never leave the process.
    pub encode: Option<Encode<V>>,
    /// The way back.
    pub decode: Option<Decode<V>>,
}

/// Value to bytes, behind what is there.
pub type Encode<V> = fn(&V, &mut Vec<u8>) -> Result<(), serde_json::Error>;
/// Bytes to value.
pub type Decode<V> = fn(&[u8]) -> Result<V, serde_json::Error>;

impl<V: Clone + Send + Sync + 'static> Codec<V> {
    pub(crate) const NONE: Self = Self {
        keep: kept::boxed,
        encode: None,
        decode: None,
    };
}

impl<V: CacheValue> Codec<V> {
    pub(crate) const JSON: Self = Self {
        keep: kept::boxed,
        encode: Some(|value, out| serde_json::to_writer(out, value)),
        decode: Some(|bytes| serde_json::from_slice(bytes)),
    };
}

impl<V> Clone for Codec<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Codec<V> {}

impl<V> std::fmt::Debug for Codec<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec")
            .field("bytes", &self.encode.is_some())
            .finish_non_exhaustive()
    }
}

/// What the cache can keep. There is nothing to implement: the bounds are all of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached: it has to be `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`",
    label = "this is what would be stored",
    note = "write `#[derive(Clone, serde::Serialize, serde::Deserialize)]` on the type",
    note = "or write `#[cached(local, ..)]`: then it stays in this process and needs only `Clone + Send + Sync + 'static`",
    note = "a handler returns `Json<T>` or `Result<Json<T>, E>`: for another response annotate the function that it gets its data from"
)]
pub trait CacheValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> CacheValue for T {}

/// What the memory of this process can keep.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in memory: it has to be `Clone + Send + Sync + 'static`",
    label = "this is what would be stored",
    note = "write `#[derive(Clone)]` on the type, or return an `Arc` of it"
)]
pub trait LocalValue: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> LocalValue for T {}

/// What a shape stores, whether that can be stored or not.
pub trait Stores {
    /// Its type.
    type Stored;
}

/// In place of a shape whose value cannot be stored. That has been reported: with this there is no second error.
#[derive(Debug, Clone, Copy)]
pub struct Refused;

impl<R> Shape<R> for Refused {
    type Value = ();
    const HANDLER: bool = false;

    fn split(&self, result: R) -> Result<(), R> {
        Err(result)
    }

    fn join(&self, (): ()) -> R {
        unreachable!("a value that cannot be stored was found")
    }

    fn codec(&self) -> Codec<()> {
        Codec::NONE
    }
}

/// Values that are an `Arc`, which is kept as it is; `M` says where they may go.
#[derive(Debug)]
pub struct Counted<M>(PhantomData<M>);

/// Values that may go anywhere, as JSON.
#[derive(Debug)]
pub struct Serde;

/// Values that never leave this process.
#[derive(Debug)]
pub struct Local;

macro_rules! shape {
    ($(#[$attr:meta])* $name:ident<$($generics:ident),+> of $result:ty, handler $handler:literal: $split:expr, $join:expr
        $(, nothing $pattern:pat => $nothing:expr)?) => {
        $(#[$attr])*
        pub struct $name<$($generics,)+ M>(PhantomData<fn() -> ($($generics,)+ M)>);

        $(#[$attr])*
        impl<$($generics,)+ M> $name<$($generics,)+ M> {
            pub(crate) const fn new() -> Self {
                Self(PhantomData)
            }
        }

        $(#[$attr])*
        impl<$($generics,)+ M> Clone for $name<$($generics,)+ M> {
            fn clone(&self) -> Self {
                *self
            }
        }

        $(#[$attr])*
        impl<$($generics,)+ M> Copy for $name<$($generics,)+ M> {}

        $(#[$attr])*
        impl<$($generics,)+ M> std::fmt::Debug for $name<$($generics,)+ M> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        shape!(@stores $(#[$attr])* $name<$($generics),+>);
        shape!(@impl $(#[$attr])* $name<$($generics),+>, $result, $handler, $split, $join, Serde CacheValue, JSON $(, $pattern => $nothing)?);
        shape!(@impl $(#[$attr])* $name<$($generics),+>, $result, $handler, $split, $join, Local LocalValue, NONE $(, $pattern => $nothing)?);
        shape!(@counted $(#[$attr])* $name<$($generics),+>);
    };
    (@counted $(#[$attr:meta])* $name:ident<V $(, $error:ident)?>) => {
        $(#[$attr])*
        impl<R, T, M $(, $error)?> Shape<R> for $name<Arc<T>, $($error,)? Counted<M>>
        where
            T: Send + Sync + 'static,
            $name<Arc<T>, $($error,)? M>: Shape<R, Value = Arc<T>>,
        {
            type Value = Arc<T>;
            const HANDLER: bool = <$name<Arc<T>, $($error,)? M> as Shape<R>>::HANDLER;
            const NOTHING: bool = <$name<Arc<T>, $($error,)? M> as Shape<R>>::NOTHING;

            #[inline]
            fn split(&self, result: R) -> Result<Arc<T>, R> {
                $name::<Arc<T>, $($error,)? M>::new().split(result)
            }

            #[inline]
            fn join(&self, value: Arc<T>) -> R {
                $name::<Arc<T>, $($error,)? M>::new().join(value)
            }

            #[inline]
            fn open(shared: Shared) -> Option<Arc<T>> {
                kept::open_arc(shared)
            }

            fn codec(&self) -> Codec<Arc<T>> {
                Codec {
                    keep: kept::counted,
                    ..$name::<Arc<T>, $($error,)? M>::new().codec()
                }
            }

            fn is_nothing(&self, result: &R) -> bool {
                $name::<Arc<T>, $($error,)? M>::new().is_nothing(result)
            }

            fn nothing(&self) -> Option<R> {
                $name::<Arc<T>, $($error,)? M>::new().nothing()
            }
        }
    };
    (@stores $(#[$attr:meta])* $name:ident<V $(, $error:ident)?>) => {
        $(#[$attr])*
        impl<V $(, $error)?, M> Stores for $name<V, $($error,)? M> {
            type Stored = V;
        }
    };
    (@impl $(#[$attr:meta])* $name:ident<V $(, $error:ident)?>, $result:ty, $handler:literal, $split:expr, $join:expr, $reach:ident $bound:ident, $codec:ident
        $(, $pattern:pat => $nothing:expr)?) => {
        $(#[$attr])*
        impl<V: $bound $(, $error)?> Shape<$result> for $name<V, $($error,)? $reach> {
            type Value = V;
            const HANDLER: bool = $handler;

            #[inline]
            fn split(&self, result: $result) -> Result<V, $result> {
                let split: fn($result) -> Result<V, $result> = $split;
                split(result)
            }

            #[inline]
            fn join(&self, value: V) -> $result {
                let join: fn(V) -> $result = $join;
                join(value)
            }

            fn codec(&self) -> Codec<V> {
                Codec::$codec
            }

            $(
                const NOTHING: bool = true;

                #[allow(clippy::redundant_pattern_matching, reason = "the pattern is one of several")]
                fn is_nothing(&self, result: &$result) -> bool {
                    matches!(result, $pattern)
                }

                fn nothing(&self) -> Option<$result> {
                    Some($nothing)
                }
            )?
        }
    };
}

shape!(#[doc = "All of it, as callers of `get_or_load` say."] Plain<V> of V, handler false: Ok, |value| value);
shape!(Bare<V> of V, handler false: |result| if is_outcome::<V>() { Err(result) } else { Ok(result) }, |value| value);
shape!(OptionOf<V> of Option<V>, handler false: |result| result.ok_or(None), Some, nothing None => None);
shape!(ResultOf<V, E> of Result<V, E>, handler false: |result| result.map_err(Err), Ok);
shape!(ResultOptionOf<V, E> of Result<Option<V>, E>, handler false: |result| match result {
    Ok(Some(value)) => Ok(value),
    other => Err(other),
}, |value| Ok(Some(value)), nothing Ok(None) => Ok(None));
shape!(#[cfg(feature = "axum")] JsonOf<V> of axum::Json<V>, handler true: |result| Ok(result.0), axum::Json);
shape!(#[cfg(feature = "axum")] OptionJsonOf<V> of Option<axum::Json<V>>, handler true:
    |result| result.map(|json| json.0).ok_or(None), |value| Some(axum::Json(value)), nothing None => None);
shape!(#[cfg(feature = "axum")] ResultJsonOf<V, E> of Result<axum::Json<V>, E>, handler true:
    |result| result.map(|json| json.0).map_err(Err), |value| Ok(axum::Json(value)));
shape!(#[cfg(feature = "axum")] ResultOptionJsonOf<V, E> of Result<Option<axum::Json<V>>, E>, handler true: |result| match result {
    Ok(Some(axum::Json(value))) => Ok(value),
    other => Err(other),
}, |value| Ok(Some(axum::Json(value))), nothing Ok(None) => Ok(None));

/// Whether a type is a `Result` or an `Option` after all, although where the function was written nobody could know: it
/// is an associated type, such as `T::Row`. Nothing tells then how to take it apart, so nothing of it is stored, and no
/// error is.
fn is_outcome<V>() -> bool {
    let name = std::any::type_name::<V>();
    ["core::result::Result<", "core::option::Option<"]
        .iter()
        .any(|outcome| name.starts_with(outcome))
}
