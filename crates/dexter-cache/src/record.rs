//! What the annotated calls of one request did, counted for the headers of its response.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const NONE: u64 = u64::MAX;

/// One record a request; every annotated call under it reports here, from whatever task it runs on.
///
/// All orderings are relaxed: the counts are read once, after the response is there, and a call that is still under
/// way then (a detached load) has no say in it.
#[derive(Debug)]
pub(crate) struct CallRecord {
    hits: AtomicU32,
    misses: AtomicU32,
    bypasses: AtomicU32,
    /// The shortest life left among the entries that were read or filled.
    min_remaining_ms: AtomicU64,
    /// The same among annotated handlers only, and only while no other call has come after them.
    handler_remaining_ms: AtomicU64,
    /// The route wants `Cache-Control` although its handler is not annotated.
    asked: AtomicBool,
}

/// The outcome of a request in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Hit,
    Miss,
    Bypass,
}

impl CallRecord {
    pub(crate) fn new() -> Self {
        Self {
            hits: AtomicU32::new(0),
            misses: AtomicU32::new(0),
            bypasses: AtomicU32::new(0),
            min_remaining_ms: AtomicU64::new(NONE),
            handler_remaining_ms: AtomicU64::new(NONE),
            asked: AtomicBool::new(false),
        }
    }

    /// A call was answered from the cache by an entry that lives for `remaining`.
    pub(crate) fn hit(&self, remaining: Duration, handler: bool) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.lives(remaining, handler);
    }

    /// A call ran its function; what it filled lives for `remaining`, zero if it was not stored.
    pub(crate) fn miss(&self, remaining: Duration, handler: bool) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.lives(remaining, handler);
    }

    /// A call ran its function without a look at the cache.
    pub(crate) fn bypass(&self) {
        self.bypasses.fetch_add(1, Ordering::Relaxed);
    }

    /// The route wants `Cache-Control` whatever its handler is.
    pub(crate) fn ask_cache_control(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// A miss outweighs all, since some of the answer had to be loaded; of the rest a bypass outweighs a hit. `None`
    /// where no annotated call was made.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if self.misses.load(Ordering::Relaxed) > 0 {
            Some(Verdict::Miss)
        } else if self.bypassed() {
            Some(Verdict::Bypass)
        } else if self.hits.load(Ordering::Relaxed) > 0 {
            Some(Verdict::Hit)
        } else {
            None
        }
    }

    /// Whether any call was a bypass, so that the answer is newer than what the cache holds.
    pub(crate) fn bypassed(&self) -> bool {
        self.bypasses.load(Ordering::Relaxed) > 0
    }

    /// For how long a client may keep the answer; `None` where nothing says so.
    ///
    /// An annotated handler's own entry is the answer, so its life decides, if `json` says that the answer may be what
    /// it returned. Where the route asked instead, the answer is made of all the entries that were used, and the first
    /// of them to expire decides.
    pub(crate) fn max_age(&self, json: bool) -> Option<Duration> {
        let handler = self.handler_remaining_ms.load(Ordering::Relaxed);
        let of = if handler != NONE && json {
            handler
        } else if self.asked.load(Ordering::Relaxed) {
            self.min_remaining_ms.load(Ordering::Relaxed)
        } else {
            NONE
        };
        (of != NONE).then(|| Duration::from_millis(of))
    }

    fn lives(&self, remaining: Duration, handler: bool) {
        let ms = u64::try_from(remaining.as_millis())
            .unwrap_or(NONE)
            .min(NONE - 1);
        self.min_remaining_ms.fetch_min(ms, Ordering::Relaxed);
        if handler {
            self.handler_remaining_ms.fetch_min(ms, Ordering::Relaxed);
        } else {
            // A handler's own call ends after those that it makes. One that others come after was made by a handler that
            // is not annotated, and what that made of it is not known.
            self.handler_remaining_ms.store(NONE, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_miss_outweighs_a_bypass_and_a_bypass_a_hit() {
        let record = CallRecord::new();
        assert_eq!(record.verdict(), None);
        record.hit(MINUTE, false);
        assert_eq!(record.verdict(), Some(Verdict::Hit));
        record.bypass();
        assert_eq!(record.verdict(), Some(Verdict::Bypass));
        record.miss(MINUTE, false);
        assert_eq!(record.verdict(), Some(Verdict::Miss));
    }

    #[test]
    fn the_handler_decides_the_age_before_what_it_called() {
        let record = CallRecord::new();
        record.miss(MINUTE, false);
        assert_eq!(
            record.max_age(true),
            None,
            "nobody asked and no handler is annotated"
        );
        record.ask_cache_control();
        assert_eq!(record.max_age(true), Some(MINUTE));
        record.miss(5 * MINUTE, true);
        assert_eq!(record.max_age(true), Some(5 * MINUTE));
        assert_eq!(
            record.max_age(false),
            Some(MINUTE),
            "the answer is not what the handler returned"
        );
    }

    #[test]
    fn a_handler_that_others_come_after_decides_nothing() {
        let record = CallRecord::new();
        record.hit(MINUTE, true);
        assert_eq!(record.max_age(true), Some(MINUTE));
        record.hit(MINUTE, false);
        assert_eq!(record.max_age(true), None);
    }

    #[test]
    fn an_endless_life_is_not_taken_for_none() {
        let record = CallRecord::new();
        record.hit(Duration::MAX, true);
        assert!(record.max_age(true).is_some());
    }
}
