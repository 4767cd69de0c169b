//! How the operations of the backend ended, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind};
use crate::stats::Stats;

#[derive(Debug, Default)]
pub(super) struct Operations {
    done: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
}

impl Operations {
    pub(super) fn count<T>(&self, result: &Result<T, Error>) {
        let counter = match result {
            Ok(_) => &self.done,
            Err(error) if error.kind() == ErrorKind::Timeout => &self.timed_out,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, stats: &mut Stats) {
        stats.backend_operations = self.done.load(Ordering::Relaxed);
        stats.backend_failures = self.failed.load(Ordering::Relaxed);
        stats.backend_timeouts = self.timed_out.load(Ordering::Relaxed);
    }
}
