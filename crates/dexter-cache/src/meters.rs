//! The counters of a cache, told to the [`metrics`](::metrics) facade.
//!
//! A call only adds to its own stripe of the counters that are always kept ([`stats`](crate::stats)); once a second
//! what has come together since is handed on. So a hit costs the same with this feature as without it, and a recorder
//! that is installed late misses nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tokio::time::Instant;

use crate::cache::Cache;
use crate::call::Call;
use crate::health::Serving;
use crate::inner::Inner;
use crate::stats::Counts;

const INTERVAL: Duration = Duration::from_secs(1);

/// A counter: its name, what it counts, and where it stands in [`Counts`].
type Row = (&'static str, &'static str, fn(&Counts) -> u64);

const PER_PREFIX: &[Row] = &[
    (
        "dexter_cache_hits_total",
        "Calls answered with a stored value.",
        |c| c.hits,
    ),
    (
        "dexter_cache_stale_total",
        "Calls answered with a value past its TTL.",
        |c| c.stale,
    ),
    (
        "dexter_cache_misses_total",
        "Calls that found nothing usable.",
        |c| c.misses,
    ),
    (
        "dexter_cache_bypasses_total",
        "Calls told to go round the cache.",
        |c| c.bypasses,
    ),
    (
        "dexter_cache_coalesced_total",
        "Misses answered by another caller's load.",
        |c| c.coalesced,
    ),
    (
        "dexter_cache_loads_total",
        "Runs of the functions behind the cache.",
        |c| c.loads,
    ),
    (
        "dexter_cache_load_failures_total",
        "Loads that ended in an error or a panic.",
        |c| c.failed_loads,
    ),
    ("dexter_cache_stored_total", "Values stored.", |c| c.stored),
    (
        "dexter_cache_fenced_total",
        "Loaded values not stored because of an invalidation.",
        |c| c.fenced,
    ),
    (
        "dexter_cache_unusable_total",
        "What lay under a key and could not be used.",
        |c| c.unusable,
    ),
    (
        "dexter_cache_too_large_total",
        "Values over the size limit.",
        |c| c.too_large,
    ),
    (
        "dexter_cache_not_encoded_total",
        "Values that could not be encoded.",
        |c| c.not_encoded,
    ),
    (
        "dexter_cache_follow_timeouts_total",
        "Callers that waited too long for another one's load.",
        |c| c.follow_timeouts,
    ),
];

const LOAD_DURATION: &str = "dexter_cache_load_duration_seconds";
const ENTRIES: &str = "dexter_cache_entries";
const OPERATIONS: &str = "dexter_cache_backend_operations_total";
const EVICTIONS: &str = "dexter_cache_evictions_total";
const EXPIRATIONS: &str = "dexter_cache_expirations_total";
const BREAKER: &str = "dexter_cache_breaker_open";
const JOURNAL: &str = "dexter_cache_journal_length";

/// What one cache has told.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    told: Mutex<Told>,
    running: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    described: bool,
    prefixes: HashMap<String, Counts>,
    evictions: u64,
    expirations: u64,
    answered: u64,
    failed: u64,
    timed_out: u64,
}

impl Cache {
    /// Tells the `metrics` facade what has happened since it was last told. A task does so every second while a Tokio
    /// runtime runs; before the process ends, or in a test, this does it at once.
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn publish_metrics(&self) {
        self.0.publish();
    }

    /// Makes sure that the task of this cache runs.
    pub(crate) fn meter(&self) {
        let running = &self.0.meters.running;
        if running.load(Ordering::Relaxed) || running.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            running.store(false, Ordering::Relaxed);
            return;
        };
        let post = Post(Arc::downgrade(&self.0));
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some(inner) = post.0.upgrade() else {
                    return;
                };
                inner.publish();
            }
        });
    }
}

/// The task at its post: with its runtime it goes, and the next load starts another one.
struct Post(Weak<Inner>);

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.meters.running.store(false, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn publish(&self) {
        let name = &self.config.name;
        // Before the counters are read: of two who tell at once, none may hold older counts than the other has told.
        let told = &mut *self
            .meters
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stats = self.stats();
        let health = self.health();
        if !told.described {
            told.described = true;
            describe();
        }
        for (prefix, counts) in &stats.prefixes {
            let before = told.prefixes.entry(prefix.clone()).or_default();
            for (metric, _, of) in PER_PREFIX {
                let more = of(counts) - of(before);
                if more > 0 {
                    counter!(*metric, "cache" => Arc::clone(name), "prefix" => prefix.clone())
                        .increment(more);
                }
            }
            *before = *counts;
        }
        for (outcome, count, before) in [
            ("answered", stats.backend_operations, &mut told.answered),
            ("failed", stats.backend_failures, &mut told.failed),
            ("timed_out", stats.backend_timeouts, &mut told.timed_out),
        ] {
            let more = count - std::mem::replace(before, count);
            if more > 0 {
                counter!(OPERATIONS, "cache" => Arc::clone(name), "outcome" => outcome)
                    .increment(more);
            }
        }
        counter!(EVICTIONS, "cache" => Arc::clone(name))
            .increment(stats.evictions - told.evictions);
        counter!(EXPIRATIONS, "cache" => Arc::clone(name))
            .increment(stats.expirations - told.expirations);
        told.evictions = stats.evictions;
        told.expirations = stats.expirations;
        #[expect(clippy::cast_precision_loss, reason = "a gauge needs no 53 bits")]
        {
            gauge!(ENTRIES, "cache" => Arc::clone(name)).set(stats.entries as f64);
            if health.backend.is_some() {
                let open = health.serving == Serving::Memory;
                gauge!(BREAKER, "cache" => Arc::clone(name)).set(f64::from(u8::from(open)));
                gauge!(JOURNAL, "cache" => Arc::clone(name)).set(health.journaled as f64);
            }
        }
    }
}

/// Tells how long a load took, when it is dropped: whether it ended well, badly, or with its caller.
pub(crate) struct Stopwatch<'a> {
    call: &'a Call,
    begun: Instant,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn start(call: &'a Call) -> Self {
        call.cache.meter();
        Self {
            call,
            begun: Instant::now(),
        }
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        let name = Arc::clone(&self.call.cache.0.config.name);
        let prefix = self.call.key.prefix().to_owned();
        histogram!(LOAD_DURATION, "cache" => name, "prefix" => prefix).record(self.begun.elapsed());
    }
}

fn describe() {
    for (metric, what, _) in PER_PREFIX {
        describe_counter!(*metric, *what);
    }
    describe_histogram!(LOAD_DURATION, Unit::Seconds, "How long loads took.");
    describe_counter!(
        OPERATIONS,
        "Operations of the shared backend, by how they ended."
    );
    describe_counter!(EVICTIONS, "Entries that gave way because memory was full.");
    describe_counter!(
        EXPIRATIONS,
        "Entries given back from memory after their TTL."
    );
    describe_gauge!(ENTRIES, "Entries in this process's memory.");
    describe_gauge!(BREAKER, "1 while the shared backend is not used.");
    describe_gauge!(JOURNAL, "Removals that wait for the backend to come back.");
}
