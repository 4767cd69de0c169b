//! How outcomes that are not stored travel: an error or a `None` to the followers of a load, a writer's success to its
//! invalidations.

use std::any::Any;
use std::fmt::Display;
use std::sync::Arc;

use crate::error::{Error, SharedError};

/// Carries what is not stored, an error or a `None`, from the caller that loaded to those that waited.
pub trait Share<R>: Copy + Send + Sync + 'static {
    /// What followers get, or nothing: then they load for themselves.
    fn share(&self, result: &R) -> Option<Arc<dyn Any + Send + Sync>>;
    /// The result that [`share`](Share::share) was given, as a follower returns it.
    fn unshare(&self, shared: &(dyn Any + Send + Sync)) -> Option<R>;
    /// The result of a call that took too long, where one can be made.
    fn too_late(&self, _: Error) -> Option<R> {
        None
    }
}

/// A part of a [`Share`]: of the errors, of the `None`s, of what is said when it took too long.
#[derive(Debug, Clone, Copy)]
pub struct Sharing<Failure, Nothing, Late>(pub Failure, pub Nothing, pub Late);

impl<R, Failure: Share<R>, Nothing: Share<R>, Late: Share<R>> Share<R>
    for Sharing<Failure, Nothing, Late>
{
    fn share(&self, result: &R) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.share(result).or_else(|| self.1.share(result))
    }

    fn unshare(&self, shared: &(dyn Any + Send + Sync)) -> Option<R> {
        self.0.unshare(shared).or_else(|| self.1.unshare(shared))
    }

    fn too_late(&self, error: Error) -> Option<R> {
        self.2.too_late(error)
    }
}

/// A call that took too long says so by its error type.
#[derive(Debug, Clone, Copy)]
pub struct Late;

impl<T, E: From<Error>> Share<Result<T, E>> for Late {
    fn share(&self, _: &Result<T, E>) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    fn unshare(&self, _: &(dyn Any + Send + Sync)) -> Option<Result<T, E>> {
        None
    }

    fn too_late(&self, error: Error) -> Option<Result<T, E>> {
        Some(Err(error.into()))
    }
}

/// Nothing can be shared.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl<R> Share<R> for Alone {
    fn share(&self, _: &R) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    fn unshare(&self, _: &(dyn Any + Send + Sync)) -> Option<R> {
        None
    }
}

/// The error is cloned.
#[derive(Debug, Clone, Copy)]
pub struct Cloned;

/// Wrapped, so that no type that happens to be an error is taken for another part's mark.
struct Failure<E>(E);

impl<T, E: Clone + Send + Sync + 'static> Share<Result<T, E>> for Cloned {
    fn share(&self, result: &Result<T, E>) -> Option<Arc<dyn Any + Send + Sync>> {
        let error = result.as_ref().err()?;
        Some(Arc::new(Failure(error.clone())))
    }

    fn unshare(&self, shared: &(dyn Any + Send + Sync)) -> Option<Result<T, E>> {
        shared
            .downcast_ref::<Failure<E>>()
            .map(|failure| Err(failure.0.clone()))
    }
}

/// The text of the error is passed on.
#[derive(Debug, Clone, Copy)]
pub struct Told;

impl<T, E: From<SharedError> + Display> Share<Result<T, E>> for Told {
    fn share(&self, result: &Result<T, E>) -> Option<Arc<dyn Any + Send + Sync>> {
        let error = result.as_ref().err()?;
        Some(Arc::new(Failure(SharedError::of(error))))
    }

    fn unshare(&self, shared: &(dyn Any + Send + Sync)) -> Option<Result<T, E>> {
        shared
            .downcast_ref::<Failure<SharedError>>()
            .map(|failure| Err(failure.0.clone().into()))
    }
}

/// A `None` is a `None` for everybody.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl<T> Share<Option<T>> for Nothing {
    fn share(&self, result: &Option<T>) -> Option<Arc<dyn Any + Send + Sync>> {
        result.is_none().then(|| Arc::new(*self) as _)
    }

    fn unshare(&self, shared: &(dyn Any + Send + Sync)) -> Option<Option<T>> {
        shared.is::<Self>().then_some(None)
    }
}

impl<T, E> Share<Result<Option<T>, E>> for Nothing {
    fn share(&self, result: &Result<Option<T>, E>) -> Option<Arc<dyn Any + Send + Sync>> {
        matches!(result, Ok(None)).then(|| Arc::new(*self) as _)
    }

    fn unshare(&self, shared: &(dyn Any + Send + Sync)) -> Option<Result<Option<T>, E>> {
        shared.is::<Self>().then_some(Ok(None))
    }
}

/// Takes what a writer returned apart: what it has to say where it succeeded, and the whole where it did not.
pub trait Success<R>: Copy + Send + Sync {
    /// What the writer's targets see as `result`.
    type Ok;
    /// What it has to say, or the whole where it failed.
    fn split(&self, result: R) -> Result<Self::Ok, R>;
    /// The whole again.
    fn join(&self, ok: Self::Ok) -> R;
}

/// Whatever is returned is a success.
#[derive(Debug, Clone, Copy)]
pub struct Always;

impl<R> Success<R> for Always {
    type Ok = R;

    fn split(&self, result: R) -> Result<R, R> {
        Ok(result)
    }

    fn join(&self, ok: R) -> R {
        ok
    }
}

/// `Ok` is a success.
#[derive(Debug, Clone, Copy)]
pub struct IfOk;

impl<T, E> Success<Result<T, E>> for IfOk {
    type Ok = T;

    fn split(&self, result: Result<T, E>) -> Result<T, Result<T, E>> {
        result.map_err(Err)
    }

    fn join(&self, ok: T) -> Result<T, E> {
        Ok(ok)
    }
}
