//! What a readiness probe wants to know.

use std::time::Duration;

/// The state of a cache, at one moment; see [`Cache::health`](crate::Cache::health).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The name of the shared backend; `None` where there is memory alone.
    pub backend: Option<&'static str>,
    /// What calls are answered from.
    pub serving: Serving,
    /// Removals that wait to be replayed when the backend is back.
    pub journaled: usize,
    /// What is kept where.
    pub mode: CacheMode,
    /// Whether the circuit breaker keeps calls from the backend.
    pub breaker: Breaker,
    /// How long ago the last recovery was: the backend came into use, at the start or after an outage. `None` before
    /// the first one.
    pub recovered: Option<Duration>,
    /// Whether the backend tells of changes. Where it does not, `tiered` keeps values in memory for seconds only.
    pub watching: bool,
    /// By how much the backend's clock is ahead of this machine's, in milliseconds.
    pub clock_offset_ms: i64,
}

/// What calls are answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serving {
    /// This process's memory: there is no backend, or it is away.
    Memory,
    /// The shared backend; in [`tiered`](CacheMode::Tiered) mode memory first, for what was read from there.
    Backend,
}

/// What is kept where; the [front page](crate#three-modes) compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheMode {
    /// Everything in this process's memory.
    Memory,
    /// Everything in the shared backend; memory serves while that is away.
    Shared,
    /// Everything in the shared backend, and what was read from it in memory, too.
    Tiered,
}

/// The state of the circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breaker {
    /// The backend is asked.
    Closed,
    /// It is not, but for a ping now and then.
    Open,
}

impl Health {
    pub(crate) const fn memory() -> Self {
        Self {
            backend: None,
            serving: Serving::Memory,
            mode: CacheMode::Memory,
            breaker: Breaker::Closed,
            recovered: None,
            watching: false,
            journaled: 0,
            clock_offset_ms: 0,
        }
    }

    /// Whether the cache is as it was meant to be: a backend that was configured is in use. A cache that is not whole
    /// still serves.
    pub fn is_whole(&self) -> bool {
        self.backend.is_none() || self.serving == Serving::Backend
    }
}
