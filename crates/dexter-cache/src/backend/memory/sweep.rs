//! Giving back what has expired and is never asked for again.
//!
//! One task a store, on whatever runtime an insertion happens to run on. It holds no strong reference while it sleeps,
//! ends when the store is empty or gone, and is started anew by a later insertion. Its right to run is a *lease*: a
//! moment until which insertions take it to be alive. A task whose runtime ends gives the lease back as it is dropped; a
//! task whose runtime merely stands still (a `block_on` that has returned) loses it by time, and ends when it notices.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::engine::Walk;
use super::store::{MemoryStore, SLICE};
use crate::clock::{Nanos, after};

/// Between two sweeps, at least.
const INTERVAL: Duration = Duration::from_secs(1);

/// A sweep that took a time is followed by a pause of as many times that: sweeping takes at most 1 % of a core.
const PAUSE_FACTOR: u32 = 100;

/// How long a task that should have woken counts as alive.
const GRACE: Duration = Duration::from_secs(10);

/// What a store knows about its sweeping.
#[derive(Debug)]
pub(super) struct Sweeping {
    /// Until when the task counts as alive; 0 while there is none.
    lease: AtomicU64,
    /// No entry expires before that, so a sweep before it is of no use.
    earliest: AtomicU64,
}

impl Default for Sweeping {
    fn default() -> Self {
        Self {
            lease: AtomicU64::new(0),
            earliest: AtomicU64::new(Nanos::MAX),
        }
    }
}

impl Sweeping {
    /// An entry is there that expires at `moment`.
    #[inline]
    pub(super) fn expect(&self, moment: Nanos) {
        if moment < self.earliest.load(Ordering::Relaxed) {
            self.earliest.fetch_min(moment, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.lease.load(Ordering::Relaxed) != 0
    }
}

impl MemoryStore {
    /// Starts the sweeping task unless one is alive. Without a runtime nothing happens: then the bound of the store
    /// holds all the same, and the next insertion within a runtime starts it.
    ///
    /// Called after the entry is in: either the task, about to end, sees the entry, or this sees that it has ended.
    /// The lock of the entry's shard puts the two in order.
    #[inline]
    pub(super) fn ensure_sweeping(&self) {
        let lease = self.sweeping.lease.load(Ordering::Relaxed);
        if lease <= self.clock.coarse() {
            self.start_sweeping(lease);
        }
    }

    #[cold]
    fn start_sweeping(&self, seen: Nanos) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut lease = Lease {
            store: self.this.clone(),
            until: seen,
            keep: false,
        };
        if lease.renew(self, INTERVAL) {
            runtime.spawn(run(lease));
        }
    }

    /// Gives back every entry that has expired, in slices, yielding to the runtime between them; returns how long it
    /// worked. Ends early when `go_on` says so.
    pub(super) async fn sweep_expired(&self, go_on: impl Fn() -> bool) -> Duration {
        let mut worked = Duration::ZERO;
        let mut earliest = Nanos::MAX;
        // Insertions from here on lower it again by themselves.
        self.sweeping.earliest.store(Nanos::MAX, Ordering::Relaxed);
        let mut walk = Walk::default();
        let mut nodes = Vec::new();
        loop {
            let (began, now) = (self.clock.now(), self.clock.coarse());
            let mut given_back = 0;
            let more = self.entries.walk(&mut walk, SLICE, &mut nodes);
            for node in nodes.drain(..) {
                if node.held().is_gone(now) {
                    let gone = self
                        .entries
                        .remove_if(&node.key(), |held| held.is_gone(now));
                    given_back += u64::from(gone.is_some_and(|node| node.held().is_over(now)));
                } else {
                    earliest = earliest.min(node.held().kept_until());
                }
            }
            self.count_expired(given_back);
            worked += Duration::from_nanos(self.clock.now().saturating_sub(began));
            if !more {
                self.sweeping.expect(earliest);
                return worked;
            }
            if !go_on() {
                // What was not looked at may expire at any time.
                self.sweeping.expect(0);
                return worked;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn run(mut lease: Lease) {
    let mut pause = INTERVAL;
    loop {
        // Panics on a runtime without timers. The lease then stays where it is, so that insertions do not start a
        // task each that ends in the same way.
        lease.keep = true;
        let sleep = tokio::time::sleep(pause);
        lease.keep = false;
        sleep.await;

        let Some(store) = lease.store.upgrade() else {
            return;
        };
        if !lease.renew(&store, pause) {
            return;
        }
        let earliest = store.sweeping.earliest.load(Ordering::Relaxed);
        if earliest <= store.clock.coarse() {
            let wanted = || Arc::strong_count(&store) > 1;
            let worked = store.sweep_expired(wanted).await;
            pause = INTERVAL.max(worked.saturating_mul(PAUSE_FACTOR));
        }
        if store.is_empty() {
            lease.give_back(&store);
            // An entry may have come in between, its insertion having found the lease in force.
            if store.is_empty() || !lease.renew(&store, pause) {
                return;
            }
        }
    }
}

/// The right to sweep a store.
struct Lease {
    store: Weak<MemoryStore>,
    /// What the store's lease is as long as it is this one.
    until: Nanos,
    /// Do not give it back when dropped.
    keep: bool,
}

impl Lease {
    /// Prolongs it for the next `pause`; false if another task has it.
    fn renew(&mut self, store: &MemoryStore, pause: Duration) -> bool {
        let until = after(store.clock.coarse(), pause.saturating_mul(2) + GRACE);
        let renewed = store
            .sweeping
            .lease
            .compare_exchange(self.until, until, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        self.until = if renewed { until } else { Nanos::MAX };
        renewed
    }

    fn give_back(&mut self, store: &MemoryStore) {
        let _ = store.sweeping.lease.compare_exchange(
            self.until,
            0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.until = 0;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Of a lease given back or lost nothing is left to give: its `until` is not the store's.
        if !self.keep
            && self.until != 0
            && let Some(store) = self.store.upgrade()
        {
            self.give_back(&store);
        }
    }
}
