//! The part of a call that waits: single flight, the look at the backend, the load, and the fill.
//!
//! No result type of the user lives across an `await` here: the future of a cached function is `Send` exactly when
//! its body is, whatever its error type.

mod fill;
mod find;
mod lead;

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Instrument;

use self::find::{Found, find};
use self::lead::Lead;
pub use self::lead::tag;
use crate::call::{Call, Miss};
use crate::global::Scope;
use crate::policy::Policy;
use crate::shape::Shape;
use crate::share::Share;
use crate::stats::Event;

/// Runs the load in the caller's own future: it ends when the caller is dropped, and the turn is passed on.
#[derive(Debug, Clone, Copy)]
pub struct Inline;

/// Runs the load in a task of its own: a caller that is dropped takes nothing with it.
#[derive(Debug, Clone, Copy)]
pub struct Detach;

impl Inline {
    /// The rest of a call whose load borrows from the caller or is not `Send`.
    pub async fn run<R, S, H, F>(
        self,
        miss: Miss<S::Value>,
        shape: S,
        share: H,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> R
    where
        S: Shape<R>,
        H: Share<R>,
        F: Future<Output = R>,
    {
        let Some(call) = miss.call.map(Arc::new) else {
            return load().await;
        };
        match find(&call, shape.codec(), policy.into()).await {
            Found::Value(value) => return shape.join(value),
            Found::Other(other) => {
                if let Some(result) = share.unshare(&*other) {
                    return result;
                }
            }
            Found::Lead(lead) => {
                let result = lead.drive(load()).await;
                return match shape.split(result) {
                    Ok(value) => {
                        if let Some(fill) = lead.land(&value) {
                            // Behind the answer. There is a runtime: the backend was asked on it.
                            drop(call.cache.0.background.spawn(fill.store()));
                        }
                        shape.join(value)
                    }
                    Err(result) => {
                        lead.fail(share.share(&result));
                        result
                    }
                };
            }
            Found::Alone => {}
        }
        call.count(Event::Load);
        call.answered(Duration::ZERO);
        load().await
    }
}

impl Detach {
    /// The rest of a call whose load owns what it needs. `load` itself may borrow: it is called only where this caller
    /// leads, and what it returns is spawned.
    pub async fn run<R, S, H, F>(
        self,
        miss: Miss<S::Value>,
        shape: S,
        share: H,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> R
    where
        R: Send + 'static,
        S: Shape<R> + 'static,
        H: Share<R> + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let Some(call) = miss.call.map(Arc::new) else {
            return load().await;
        };
        match find(&call, shape.codec(), policy.into()).await {
            Found::Value(value) => return shape.join(value),
            Found::Other(other) => {
                if let Some(result) = share.unshare(&*other) {
                    return result;
                }
            }
            Found::Lead(lead) => return detached(&call, lead, shape, share, load()).await,
            Found::Alone => {}
        }
        call.count(Event::Load);
        call.answered(Duration::ZERO);
        load().await
    }
}

/// Runs the load in a task of its own, which takes along the cache's scope and the tracing span.
async fn detached<R, S, H, F>(
    call: &Call,
    lead: Box<Lead<S::Value>>,
    shape: S,
    share: H,
    load: F,
) -> R
where
    R: Send + 'static,
    S: Shape<R> + 'static,
    H: Share<R> + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let task = async move {
        let result = lead.drive(load).await;
        // A caller that is gone needs no answer.
        match shape.split(result) {
            Ok(value) => {
                let fill = lead.land(&value);
                let _ = answer.send(shape.join(value));
                if let Some(fill) = fill {
                    fill.store().await;
                }
            }
            Err(result) => {
                lead.fail(share.share(&result));
                let _ = answer.send(result);
            }
        }
    };
    let task = Scope::current()
        .enter(task)
        .instrument(tracing::Span::current());
    match call.cache.0.background.spawn(task) {
        Ok(running) => match answered.await {
            Ok(result) => result,
            Err(_) => match running.await {
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                _ => panic!("the runtime ended while a cached function was loading"),
            },
        },
        Err(task) => {
            task.await;
            answered.await.expect("the load has ended with an answer")
        }
    }
}
