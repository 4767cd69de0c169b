//! What a cache does, in memory: through the macros and by hand.

mod ahead;
mod ahead_tiered;
mod basics;
mod batch;
mod cancel;
mod context;
mod deferred;
mod flights;
mod labelled;
mod none;
mod origin;
mod scars;
mod shared;
mod stale;
mod tags;
mod timeouts;
mod writers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often something ran.
#[derive(Debug, Default)]
struct Counter(AtomicUsize);

impl Counter {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
