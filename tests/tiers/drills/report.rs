//! What a drill has seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts and complaints of all who take part.
#[derive(Default)]
pub(super) struct Report {
    pub(super) calls: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) most_entries: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Report {
    pub(super) fn complain(&self, what: String) {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
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
        let most = self.most_entries.load(Ordering::SeqCst);
        assert!(
            most <= capacity,
            "{most} entries in memory, {capacity} allowed"
        );
    }
}
