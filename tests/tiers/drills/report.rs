//! What a drill has seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The default of the library.
const BUDGET: Duration = Duration::from_millis(250);
/// What a call may take beyond its load without a word.
const USUAL: Duration = Duration::from_millis(500);
/// What no call may take beyond its load.
const LONGEST: Duration = Duration::from_secs(5);
/// What no sweep of these few keys may take, broken off or not.
const LONGEST_SWEEP: Duration = Duration::from_secs(5);

/// Time as the runtime of the drill had it: where the machine gave it none for a while, the clock stood.
#[derive(Default)]
pub(super) struct FairClock(AtomicU64);

impl FairClock {
    const TICK: Duration = Duration::from_millis(5);

    pub(super) async fn run(&self) {
        let mut last = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(Self::TICK).await;
            let now = tokio::time::Instant::now();
            let passed = (now - last).min(Self::TICK * 4);
            last = now;
            let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
            self.0.fetch_add(micros, Ordering::SeqCst);
        }
    }

    pub(super) fn since(&self, begun: Duration) -> Duration {
        self.now().saturating_sub(begun)
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Counts and complaints of all who take part.
#[derive(Default)]
pub(super) struct Report {
    pub(super) calls: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) most_entries: AtomicU64,
    late: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Report {
    pub(super) fn complain(&self, what: String) {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// A call has ended that took `beyond` its own load.
    pub(super) fn took(&self, what: &str, beyond: Duration) {
        if beyond > USUAL {
            self.late.fetch_add(1, Ordering::SeqCst);
        }
        if beyond > LONGEST {
            self.complain(format!("{what} took {beyond:?}, the budget is {BUDGET:?}"));
        }
    }

    pub(super) fn swept(&self, what: &str, time: Duration) {
        if time > LONGEST_SWEEP {
            self.complain(format!("{what} took {time:?}"));
        }
    }

    /// # Panics
    ///
    /// If anything was wrong.
    pub(super) fn assert_good(&self, capacity: u64) {
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first: Vec<&String> = complaints.iter().take(5).collect();
        assert!(
            complaints.is_empty(),
            "{} complaints: {first:#?}",
            complaints.len()
        );
        let (calls, late) = (
            self.calls.load(Ordering::SeqCst),
            self.late.load(Ordering::SeqCst),
        );
        assert!(
            late * 20 <= calls,
            "{late} of {calls} calls took more than {USUAL:?} beyond their loads"
        );
        let most = self.most_entries.load(Ordering::SeqCst);
        assert!(
            most <= capacity,
            "{most} entries in memory, {capacity} allowed"
        );
    }
}
