//! What one entry is made of, and how it is looked up.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::{self, Nanos};
use crate::key::Key;
use crate::policy::Life;
use crate::tag::Marks;

/// A key as a look-up brings it: borrowed, its hash computed before. The text is UTF-8, as bytes, since only a weigher
/// wants to read it.
///
/// All look-ups in one store must hash in the same way; the store itself never hashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    pub(crate) hash: u64,
    pub(crate) text: &'a [u8],
}

impl<'a> From<&'a Key> for KeyRef<'a> {
    #[inline]
    fn from(key: &'a Key) -> Self {
        Self {
            hash: key.hash(),
            text: key.as_bytes(),
        }
    }
}

/// A value and the moment until which it is fresh. Cloning it copies a counted pointer, or two.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    pub(crate) fresh_until: Nanos,
    /// `None` for most: then the value is gone when it is no longer fresh.
    pub(crate) extra: Option<Arc<Extra>>,
}

/// What few entries have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Until when the value can be fallen back on; not before `fresh_until`.
    pub(crate) kept_until: Nanos,
    /// No load is begun before: while the value is fresh that is the moment from which it is refreshed ahead, after it
    /// the end of the pause that follows a load that failed.
    pub(crate) attempt_at: AtomicU64,
    /// Somebody refreshes it ahead.
    pub(crate) claimed: AtomicBool,
    /// What the loader said names this state of the value.
    pub(crate) etag: Option<Box<str>>,
    /// What its load saw of its tags. Once they are not valid any more, the entry is gone.
    pub(crate) marks: Marks,
    /// It is no longer fresh, whatever the time.
    pub(crate) expired: AtomicBool,
}

impl Extra {
    /// Whether it is time to try a load.
    #[inline]
    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        self.attempt_at.load(Ordering::Relaxed) <= now
    }

    /// Puts the next load off.
    pub(crate) fn put_off(&self, until: Nanos) {
        self.attempt_at.store(until, Ordering::Relaxed);
    }

    #[inline]
    fn answers(&self) -> bool {
        self.marks.are_valid() && !self.expired.load(Ordering::Relaxed)
    }
}

/// The right to refresh an entry ahead; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Claim(Arc<Extra>);

impl Claim {
    /// The claim, if the entry is due at `now` and nobody else has it.
    pub(crate) fn new(extra: Arc<Extra>, now: Nanos) -> Option<Self> {
        (extra.is_due(now) && !extra.claimed.swap(true, Ordering::Relaxed)).then(|| Self(extra))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Relaxed);
    }
}

impl Held {
    /// A value that is gone after `fresh_until`.
    pub(crate) fn new(value: Arc<dyn Any + Send + Sync>, fresh_until: Nanos) -> Self {
        Self {
            value,
            fresh_until,
            extra: None,
        }
    }

    /// A value that lives as `life` says from `now` on; most are plain.
    pub(crate) fn living(
        value: Arc<dyn Any + Send + Sync>,
        now: Nanos,
        life: Life,
        etag: Option<Box<str>>,
    ) -> Self {
        let fresh_until = clock::after(now, life.fresh);
        let mut held = Self::new(value, fresh_until);
        if !life.stale.is_zero() || life.ahead.is_some() || etag.is_some() {
            let attempt_at = life
                .ahead
                .map_or(fresh_until, |ahead| clock::after(now, ahead));
            held.extra = Some(Arc::new(Extra {
                kept_until: clock::after(fresh_until, life.stale),
                attempt_at: AtomicU64::new(attempt_at),
                etag,
                ..Extra::default()
            }));
        }
        held
    }

    /// The same under tags, beside those that it has.
    pub(crate) fn marked(mut self, marks: Marks) -> Self {
        if !marks.is_empty() {
            let kept_until = self.kept_until();
            let mut extra = self
                .extra
                .take()
                .and_then(Arc::into_inner)
                .unwrap_or_else(|| Extra {
                    kept_until,
                    attempt_at: AtomicU64::new(Nanos::MAX),
                    ..Extra::default()
                });
            extra.marks.extend(marks);
            self.extra = Some(Arc::new(extra));
        }
        self
    }

    /// What its load saw of its tags.
    pub(crate) fn marks(&self) -> Option<&Marks> {
        self.extra.as_ref().map(|extra| &extra.marks)
    }

    /// Until when the entry takes up room.
    #[inline]
    pub(crate) fn kept_until(&self) -> Nanos {
        self.extra
            .as_ref()
            .map_or(self.fresh_until, |extra| extra.kept_until)
    }

    /// Whether the value answers at `now`. By the coarse clock, which lags, it does so at most a tick too long and
    /// never too short.
    #[inline]
    pub(crate) fn is_fresh(&self, now: Nanos) -> bool {
        now < self.fresh_until && self.extra.as_ref().is_none_or(|extra| extra.answers())
    }

    /// Makes a fresh value one that can only be fallen back on; `false` if it is of no use then.
    pub(crate) fn expire(&self) -> bool {
        match &self.extra {
            Some(extra) if extra.kept_until > self.fresh_until && extra.marks.are_valid() => {
                extra.expired.store(true, Ordering::Relaxed);
                extra.put_off(0);
                true
            }
            _ => false,
        }
    }

    /// Whether the value is gone at `now`, by the same clock.
    #[inline]
    pub(crate) fn is_gone(&self, now: Nanos) -> bool {
        self.is_over(now)
            || self
                .extra
                .as_ref()
                .is_some_and(|extra| !extra.marks.are_valid())
    }

    /// Whether it is gone because its time has come.
    pub(crate) fn is_over(&self, now: Nanos) -> bool {
        self.kept_until() <= now
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("fresh_until", &self.fresh_until)
            .finish_non_exhaustive()
    }
}
