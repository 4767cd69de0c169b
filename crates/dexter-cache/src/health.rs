//! What a readiness probe wants to know.

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
    /// By how much the backend's clock is ahead of this machine's, in milliseconds.
    pub clock_offset_ms: i64,
}

/// What calls are answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serving {
    /// This process's memory: there is no backend, or it is away.
    Memory,
    /// The shared backend.
    Backend,
}

impl Health {
    pub(crate) const fn memory() -> Self {
        Self {
            backend: None,
            serving: Serving::Memory,
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
