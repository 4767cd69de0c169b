//! What the tests of stale values load from: an origin that counts, and that can be told to fail or to hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dexter_cache::test_util::TestClock;
use dexter_cache::{Cache, Error, Key, Policy, Ttl};
use tokio::sync::Semaphore;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const THROTTLE: Duration = Duration::from_secs(30);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The error of an origin. It cannot be cloned.
#[derive(Debug, PartialEq)]
pub(crate) struct Down;

impl From<Error> for Down {
    fn from(_: Error) -> Self {
        Self
    }
}

#[derive(Debug)]
pub(crate) struct Origin {
    loads: AtomicU32,
    down: AtomicBool,
    /// A load takes a permit; while there is none it hangs.
    gate: Semaphore,
}

impl Origin {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            loads: AtomicU32::new(0),
            down: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS / 2),
        })
    }

    /// Its answers are numbered.
    pub(crate) async fn load(self: Arc<Self>) -> Result<u32, Down> {
        let load = self.loads.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.expect("never closed").forget();
        if self.down.load(Ordering::SeqCst) {
            Err(Down)
        } else {
            Ok(load)
        }
    }

    pub(crate) fn loads(&self) -> u32 {
        self.loads.load(Ordering::SeqCst)
    }

    pub(crate) fn break_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    pub(crate) fn repair(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    /// Loads that begin from here on do not end.
    pub(crate) fn hang(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// And now they do.
    pub(crate) fn go_on(&self) {
        self.gate.add_permits(1_000_000);
    }
}

/// A cache in memory whose time is set, without jitter.
pub(crate) async fn clocked() -> (Cache, TestClock) {
    let clock = TestClock::new();
    let cache = Cache::builder().clock(&clock).jitter(0.0).build().await;
    (cache.expect("the options are good"), clock)
}

/// The same, where time is tokio's.
pub(crate) async fn paused() -> Cache {
    let cache = Cache::builder().clock(&TestClock::tokio()).jitter(0.0);
    cache.build().await.expect("the options are good")
}

pub(crate) fn key() -> Key {
    Key::new("lives").part("id", &1)
}

/// A minute fresh, an hour stale.
pub(crate) fn policy() -> Policy {
    Policy::new(Ttl::from_duration(MINUTE)).stale(HOUR)
}

/// Lets every task go as far as it can.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
