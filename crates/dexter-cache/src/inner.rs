//! [`Inner`]: what all handles of a cache share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::backend::memory::{Held, MemoryStore};
use crate::background::Background;
use crate::clock::Clock;
use crate::flight::Flights;
use crate::health::{Breaker, CacheMode, Health, Serving};
use crate::key::Key;
use crate::stats::{Counters, Stats};
use crate::telemetry::TARGET;
use crate::tier::Tier;

pub(crate) struct Inner {
    /// What stays in this process: everything where there is no backend, values of `local` functions where there is.
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) tier: Option<Arc<Tier>>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) counters: Counters,
    pub(crate) background: Arc<Background>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    /// Loads that may run at a time while the backend is away.
    pub(crate) loads_while_away: Semaphore,
    pub(crate) off: AtomicBool,
    pub(crate) closed: AtomicBool,
    pub(crate) warned_too_large: AtomicBool,
    #[cfg(feature = "metrics")]
    pub(crate) meters: crate::meters::Meters,
}

/// What the builder decided about calls.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    #[cfg(feature = "metrics")]
    pub(crate) name: Arc<str>,
    pub(crate) jitter: f64,
    pub(crate) follow_timeout: Duration,
    pub(crate) throttle: Duration,
}

impl Inner {
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        let stores = self.tier.iter().flat_map(|tier| tier.stores());
        for store in stores.chain([&self.memory]) {
            stats.entries += store.len() as u64;
            stats.evictions += store.evictions();
            stats.expirations += store.expirations();
            stats.too_heavy += store.refusals();
        }
        if let Some(tier) = &self.tier {
            tier.count_operations(&mut stats);
        }
        stats
    }

    pub(crate) fn health(&self) -> Health {
        let Some(tier) = &self.tier else {
            return Health::memory();
        };
        let (serving, breaker) = if tier.is_trusted() {
            (Serving::Backend, Breaker::Closed)
        } else {
            (Serving::Memory, Breaker::Open)
        };
        Health {
            backend: Some(tier.backend_name()),
            serving,
            mode: if tier.config.tiered {
                CacheMode::Tiered
            } else {
                CacheMode::Shared
            },
            breaker,
            recovered: tier.recovered(),
            watching: tier.is_watching(),
            journaled: tier.journal_len(),
            clock_offset_ms: tier.clock_offset(),
        }
    }

    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// What the memory that calls are answered from now holds under `key`.
    #[inline]
    pub(crate) fn held(&self, key: &Key, local: bool) -> Option<Held> {
        match &self.tier {
            Some(tier) if !local => tier.in_memory(key),
            _ => self.memory.get(key),
        }
    }

    /// While the backend is away all loads that it would have saved come at once: so many run at a time, and others wait,
    /// as long as a follower would.
    pub(crate) async fn permit_while_away(&self) -> Option<SemaphorePermit<'_>> {
        let tier = self.tier.as_ref()?;
        if tier.is_trusted() {
            return None;
        }
        let permit = self.loads_while_away.acquire();
        let permit = match self.loads_while_away.try_acquire() {
            Ok(permit) => return Some(permit),
            Err(_) => tokio::time::timeout(self.config.follow_timeout, permit).await,
        };
        permit.ok()?.ok()
    }

    #[cold]
    pub(crate) fn warn_too_large(&self, prefix: &str, bytes: usize) {
        if !self.warned_too_large.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: TARGET,
                prefix,
                bytes,
                "a value is larger than the limit and was not stored; further ones are only counted"
            );
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(tier) = &self.tier {
            tier.close();
        }
    }
}
