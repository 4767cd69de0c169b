//! The part of a call that waits: single flight, the look at the backend, the load, and the fill.
//!
//! ```text
//! find ──► a value, fresh, or stale and not to be loaded yet ──────────────► the answer
//!      ──► another caller loads: wait ── too long, stale value there ──────► the stale value
//!      │                              └─ its outcome ───────────────────────► the answer
//!      └─► this caller loads (`Lead`)
//!            drive ──► a value: land ──► the answer, and a fill behind it
//!                  ──► failed, nothing to fall back on ────────────────────► the error
//!                  ──► failed, stale value there: put off the next load ───► the stale value
//!            in a task of its own: soft timeout ───────────────────────────► the stale value, the load goes on
//!                                  hard timeout ───────────────────────────► an error, the load goes on
//! ```
//!
//! What holds throughout:
//!
//! * No result type of the user lives across an `await` of a load that runs in its caller: the future of a cached
//!   function is `Send` exactly when its body is, whatever its error type.
//! * A stale value answers only if it is still there when it does: in memory it is read again under the lock of its
//!   flight, in a backend it is asked for again, by the compare-and-set that puts the next load off.
//! * A fence that was raised while the load ran leaves nothing to fall back on.

mod ahead;
mod batch;
mod context;
mod fall;
mod fill;
mod find;
mod lead;
mod settle;
mod spare;
mod wait;

use std::future::Future;
use std::sync::Arc;

use self::ahead::refresh_ahead;
pub(crate) use self::batch::{Batched, Stop, load_many};
pub use self::context::CacheContext;
use self::context::without_context;
use self::find::{Found, find};
use self::settle::{Settled, settle};
use self::wait::{Limits, alone, detached};
use crate::call::{Answer, Miss};
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
        let Some(call) = miss.call else {
            return without_context(load()).await;
        };
        let policy = policy.into();
        let found = find(&call, shape.codec(), &policy, &Limits::NONE).await;
        let lead = match found.answer(shape, share) {
            Ok(result) => return result,
            Err(lead) => lead,
        };
        let Some(lead) = lead else {
            call.count(Event::Load);
            call.answered(Answer::Loaded(std::time::Duration::ZERO));
            return without_context(load()).await;
        };
        let mut lead = lead;
        let result = lead.drive(load()).await;
        let (shared, lead) = match settle(lead, shape, share, result) {
            Settled::Done {
                result,
                answer,
                fill,
            } => {
                call.answered(answer);
                if let Some(fill) = fill {
                    fill.begin();
                }
                return result;
            }
            Settled::Fallen {
                result,
                shared: None,
                lead,
            } => {
                // The error can be kept nowhere while the backend is asked.
                return match lead.fall_back_unasked() {
                    Some(value) => {
                        call.answered(Answer::Stale);
                        shape.join(value)
                    }
                    None => result,
                };
            }
            Settled::Fallen {
                shared: Some(shared),
                lead,
                ..
            } => (shared, lead),
        };
        if let Some(value) = Box::pin(lead.fall_back(Some(Arc::clone(&shared)))).await {
            call.answered(Answer::Stale);
            return shape.join(value);
        }
        share
            .unshare(&*shared)
            .expect("what was shared can be taken back")
    }

    /// Nothing: a load that needs its caller cannot be begun in the background.
    pub fn refresh<R, S, H, F>(
        self,
        _: Miss<S::Value>,
        _: S,
        _: H,
        _: impl Into<Policy>,
        _: impl FnOnce() -> F,
    ) where
        S: Shape<R>,
        H: Share<R>,
        F: Future<Output = R>,
    {
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
        let Some(call) = miss.call else {
            return without_context(load()).await;
        };
        let policy = policy.into();
        let limits = Limits::of(&policy);
        let found = find(&call, shape.codec(), &policy, &limits).await;
        if let Found::Late = found
            && let Some(result) = limits.too_late(share)
        {
            return result;
        }
        if let Found::Due(_) = found {
            refresh_ahead(call.on_its_own(), shape, share, policy, load(), None);
            return found
                .answer(shape, share)
                .unwrap_or_else(|_| unreachable!("it was found"));
        }
        match found.answer(shape, share) {
            Ok(result) => result,
            // In a box of its own: a hit in the backend, too, makes and moves this future.
            Err(Some(lead)) => Box::pin(detached(&call, lead, shape, share, &limits, load())).await,
            Err(None) => Box::pin(alone(&call, share, &limits, load())).await,
        }
    }

    /// Loads anew, behind an answer that has been given, what is due.
    pub fn refresh<R, S, H, F>(
        self,
        miss: Miss<S::Value>,
        shape: S,
        share: H,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) where
        R: Send + 'static,
        S: Shape<R> + 'static,
        H: Share<R> + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        if let Some(call) = miss.call {
            refresh_ahead(call, shape, share, policy.into(), load(), miss.claim);
        }
    }
}
