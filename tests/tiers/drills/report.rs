//! What a drill has seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts and complaints of all who take part.
#[derive(Default)]
pub(super) struct Report {
    pub(super) calls: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) most_entries: AtomicU64,
    /// What the slowest call took, its load included, in milliseconds.
    longest: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Report {
    pub(super) fn complain(&self, what: String) {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Makes one call of the cache, and remembers how long it took if it was the slowest.
    pub(super) async fn time<T>(&self, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let came_to = call.await;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.longest.fetch_max(took, Ordering::SeqCst);
        came_to
    }

    /// # Panics
    ///
    /// If anything was wrong, or a call took as long as two budgets.
    pub(super) fn assert_good(&self, capacity: u64, two_budgets: Duration) {
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
        let longest = Duration::from_millis(self.longest.load(Ordering::SeqCst));
        assert!(longest < two_budgets, "a call took {longest:?}");
        let most = self.most_entries.load(Ordering::SeqCst);
        assert!(
            most <= capacity,
            "{most} entries in memory, {capacity} allowed"
        );
    }
}
