//! The circuit breaker in front of the backend: when to stop asking it.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::error::{Error, ErrorKind};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Failures in a row that open the breaker where a single one does not.
const PATIENCE: u32 = 3;

/// One breaker guards the whole backend, so that a call with several operations pays for an outage once.
///
/// It begins open: a backend is trusted only after it has answered.
pub(crate) struct Breaker {
    open: AtomicBool,
    /// When an operation last succeeded, in nanoseconds since the tier was built.
    last_success: AtomicU64,
    in_a_row: AtomicU32,
    /// Operations in a row that succeeded, but took longer than they may.
    slow_in_a_row: AtomicU32,
    /// Counts the openings: what an operation learnt before the last one says nothing about the connection after it.
    openings: AtomicU64,
    opened: Notify,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            open: AtomicBool::new(true),
            last_success: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            slow_in_a_row: AtomicU32::new(0),
            openings: AtomicU64::new(0),
            opened: Notify::new(),
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Ready once the breaker opens: operations under way give up then.
    pub(crate) fn opened(&self) -> Notified<'_> {
        self.opened.notified()
    }

    /// How often it has opened.
    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::SeqCst)
    }

    /// Opens; `true` for the one caller that did it.
    pub(crate) fn open(&self) -> bool {
        let first = !self.open.swap(true, Ordering::SeqCst);
        if first {
            self.openings.fetch_add(1, Ordering::SeqCst);
            self.opened.notify_waiters();
        }
        first
    }

    pub(crate) fn close(&self, now: u64) {
        self.succeeded(now);
        self.slow_in_a_row.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::SeqCst);
    }

    pub(crate) fn succeeded(&self, now: u64) {
        self.last_success.fetch_max(now, Ordering::Relaxed);
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Whether an operation that succeeded, `slow` or not, is reason to open all the same.
    pub(crate) fn is_too_slow(&self, slow: bool) -> bool {
        if !slow {
            if self.slow_in_a_row.load(Ordering::Relaxed) != 0 {
                self.slow_in_a_row.store(0, Ordering::Relaxed);
            }
            return false;
        }
        self.slow_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE
    }

    pub(crate) fn last_success(&self) -> u64 {
        self.last_success.load(Ordering::Relaxed)
    }

    /// Whether an operation that failed with `error` at `ended` is reason to open.
    ///
    /// A broken connection is, and so is a server that says it cannot serve. A timeout is when nothing has succeeded
    /// for a whole `budget`: the operation itself may have had less. Otherwise it takes several failures in a row.
    pub(crate) fn failed(&self, ended: u64, budget: u64, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::NotReady => true,
            ErrorKind::Timeout if self.last_success().saturating_add(budget) <= ended => true,
            // A node of a cluster that sends its callers away is of no use, either.
            ErrorKind::Timeout | ErrorKind::Backend | ErrorKind::Config => {
                self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE
            }
            // The backend is well: it refused this one thing.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "test")
    }

    const BUDGET: u64 = 10;

    #[test]
    fn a_backend_that_is_silent_for_a_budget_opens_it_at_the_first_timeout() {
        let breaker = Breaker::new();
        breaker.close(10);
        assert!(breaker.failed(20, BUDGET, &error(ErrorKind::Timeout)));
    }

    #[test]
    fn one_slow_operation_among_good_ones_does_not() {
        let breaker = Breaker::new();
        breaker.close(10);
        breaker.succeeded(20);
        assert!(!breaker.failed(25, BUDGET, &error(ErrorKind::Timeout)));
        assert!(!breaker.failed(25, BUDGET, &error(ErrorKind::Timeout)));
        assert!(
            breaker.failed(25, BUDGET, &error(ErrorKind::Timeout)),
            "the third in a row"
        );
        breaker.succeeded(30);
        assert!(
            !breaker.failed(35, BUDGET, &error(ErrorKind::Timeout)),
            "a success ends the row"
        );
    }

    #[test]
    fn several_slow_operations_in_a_row_open_it() {
        let breaker = Breaker::new();
        breaker.close(0);
        assert!(!breaker.is_too_slow(true) && !breaker.is_too_slow(true));
        assert!(!breaker.is_too_slow(false), "a fast one ends the row");
        assert!(!breaker.is_too_slow(true) && !breaker.is_too_slow(true));
        assert!(breaker.is_too_slow(true));
    }

    #[test]
    fn scar_3_a_storm_of_moved_is_an_outage() {
        let breaker = Breaker::new();
        breaker.close(0);
        let moved = error(ErrorKind::Config);
        assert!(!breaker.failed(1, BUDGET, &moved) && !breaker.failed(1, BUDGET, &moved));
        assert!(breaker.failed(1, BUDGET, &moved));
    }

    #[test]
    fn a_refused_write_is_no_outage() {
        let breaker = Breaker::new();
        breaker.close(0);
        for kind in [
            ErrorKind::OutOfMemory,
            ErrorKind::WrongType,
            ErrorKind::Unsupported,
            ErrorKind::Denied,
        ] {
            (0..10).for_each(|_| assert!(!breaker.failed(50, BUDGET, &error(kind))));
        }
    }

    #[test]
    fn only_one_caller_opens_it() {
        let breaker = Breaker::new();
        assert!(!breaker.open(), "it begins open");
        breaker.close(0);
        assert!(breaker.open());
        assert!(!breaker.open());
    }
}
