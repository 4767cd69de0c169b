//! Waiting for a load that runs in a task of its own, and for how long.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::context::without_context;
use super::fill::Fill;
use super::lead::Lead;
use super::settle::{Settled, settle};
use crate::call::{Answer, Call};
use crate::error::{Error, ErrorKind};
use crate::global::Scope;
use crate::policy::Policy;
use crate::shape::Shape;
use crate::share::Share;
use crate::stats::Event;

/// How long a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// When it began; asked for only where there is a limit.
    begun: Option<Instant>,
    soft: Option<Duration>,
    hard: Option<Duration>,
}

impl Limits {
    /// What a load that runs in its caller has.
    pub(super) const NONE: Self = Self {
        begun: None,
        soft: None,
        hard: None,
    };

    pub(super) fn of(policy: &Policy) -> Self {
        let (soft, hard) = (policy.soft_timeout, policy.hard_timeout);
        Self {
            begun: (soft.is_some() || hard.is_some()).then(Instant::now),
            soft,
            hard,
        }
    }

    /// Until when to wait where there is something stale to answer with.
    pub(super) fn soft(&self) -> Option<Instant> {
        self.begun?.checked_add(self.soft?)
    }

    /// Until when to wait at all.
    pub(super) fn hard(&self) -> Option<Instant> {
        self.begun?.checked_add(self.hard?)
    }

    pub(super) fn are_over(&self) -> bool {
        self.hard().is_some_and(|hard| hard <= Instant::now())
    }

    /// What is left of a patience of `span`, and of one where there is something stale.
    pub(super) fn patience(&self, span: Duration) -> (Duration, Duration) {
        if self.begun.is_none() {
            return (span, span);
        }
        let now = Instant::now();
        let left = |until: Option<Instant>| until.map_or(span, |until| (until - now).min(span));
        let hard = left(self.hard());
        (hard, left(self.soft()).min(hard))
    }

    /// The result of a call whose hard timeout is over.
    pub(super) fn too_late<R, H: Share<R>>(&self, share: H) -> Option<R> {
        let hard = self.hard?;
        share.too_late(Error::new(
            ErrorKind::LoadTimeout,
            format!("a load takes longer than {hard:?}; it goes on, and its value will be cached"),
        ))
    }
}

/// Runs the load in a task of its own, which takes along the cache's scope and the tracing span, and waits for it as
/// long as the limits allow.
pub(super) async fn detached<R, S, H, F>(
    call: &Call,
    lead: Box<Lead<S::Value>>,
    shape: S,
    share: H,
    limits: &Limits,
    load: F,
) -> R
where
    R: Send + 'static,
    S: Shape<R> + 'static,
    H: Share<R> + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let soft = limits.soft().zip(lead.stale_spare());
    let observer = soft.is_some().then(|| lead.turn().ticket().observer());
    let task = async move {
        let (result, answer, fill) = run(lead, shape, share, load).await;
        if let Some(fill) = fill {
            fill.begin();
        }
        (result, answer)
    };
    let mut waiting = Waiting::begin(spawn(call, task)).await;
    if let Some(((until, spare), observer)) = soft.zip(observer) {
        if let Ok((result, answer)) = timeout_at(until, waiting.answer()).await {
            call.answered(answer);
            return result;
        }
        if let Some(value) = Box::pin(spare.confirmed(call, &observer)).await {
            call.answered(Answer::Stale);
            return shape.join(value);
        }
    }
    let (result, answer) = match limits.hard() {
        None => waiting.answer().await,
        Some(until) => match timeout_at(until, waiting.answer()).await {
            Ok(answered) => answered,
            Err(_) => match limits.too_late(share) {
                Some(result) => (result, Answer::Loaded(Duration::ZERO)),
                None => waiting.answer().await,
            },
        },
    };
    call.answered(answer);
    result
}

/// Runs the load and ends its flight, as much of it as does not wait for the fill.
pub(super) async fn run<R, S, H, F>(
    mut lead: Box<Lead<S::Value>>,
    shape: S,
    share: H,
    load: F,
) -> (R, Answer, Option<Fill>)
where
    R: Send + 'static,
    S: Shape<R> + 'static,
    H: Share<R> + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let result = lead.drive(load).await;
    match settle(lead, shape, share, result) {
        Settled::Done {
            result,
            answer,
            fill,
        } => (result, answer, fill),
        Settled::Fallen {
            result,
            shared,
            lead,
        } => {
            // In a box of its own: the task is moved, and should be small.
            match Box::pin(lead.fall_back(shared)).await {
                Some(value) => (shape.join(value), Answer::Stale, None),
                None => (result, Answer::Loaded(Duration::ZERO), None),
            }
        }
    }
}

/// Runs a load whose result is not stored, for this caller alone.
pub(super) async fn alone<R, H, F>(call: &Call, share: H, limits: &Limits, load: F) -> R
where
    R: Send + 'static,
    H: Share<R> + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let late = |limits: &Limits| {
        let result = limits.too_late(share);
        if result.is_some() {
            call.answered(Answer::Loaded(Duration::ZERO));
        }
        result
    };
    if limits.are_over()
        && let Some(result) = late(limits)
    {
        return result;
    }
    call.count(Event::Load);
    let Some(until) = limits.hard() else {
        call.answered(Answer::Loaded(Duration::ZERO));
        return without_context(load).await;
    };
    let task = async move {
        let result = without_context(load).await;
        (result, Answer::Loaded(Duration::ZERO))
    };
    let mut waiting = Waiting::begin(spawn(call, task)).await;
    if let Ok((result, answer)) = timeout_at(until, waiting.answer()).await {
        call.answered(answer);
        return result;
    }
    if let Some(result) = late(limits) {
        return result;
    }
    let (result, answer) = waiting.answer().await;
    call.answered(answer);
    result
}

/// Spawns `task` under the scope and the span of this one; without a runtime it is given back, to be run here.
fn spawn<T: Send + 'static>(
    call: &Call,
    task: impl Future<Output = T> + Send + 'static,
) -> Result<JoinHandle<T>, Pin<Box<dyn Future<Output = T> + Send>>> {
    let task = Scope::current()
        .enter(task)
        .instrument(tracing::Span::current());
    let spawned = call.cache.0.background.spawn(task);
    spawned.map_err(|task| -> Pin<Box<dyn Future<Output = T> + Send>> { Box::pin(task) })
}

/// A load in a task of its own.
enum Waiting<T> {
    Running(JoinHandle<T>),
    /// It was run here.
    Ended(Option<T>),
}

impl<T> Waiting<T> {
    async fn begin(
        spawned: Result<JoinHandle<T>, Pin<Box<dyn Future<Output = T> + Send>>>,
    ) -> Self {
        match spawned {
            Ok(running) => Self::Running(running),
            Err(task) => Self::Ended(Some(task.await)),
        }
    }

    /// What the task ends with; its panic is this caller's. Can be dropped and called again, until it has answered.
    async fn answer(&mut self) -> T {
        let ended = match self {
            Self::Running(running) => running.await,
            Self::Ended(answer) => Ok(answer.take().expect("it is asked once")),
        };
        ended.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(ended) => panic!("the runtime ended while a cached function was loading: {ended}"),
        })
    }
}
