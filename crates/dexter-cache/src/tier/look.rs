//! A look at the backend: a value that answers, or the right to load one.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::lease::{Lease, Step};
use super::tokens::Seen;
use super::{Asked, Budget, Tier};
use crate::error::Error;
use crate::key::Key;
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::tag::TagId;
use crate::wire::{self, About, Entry, Found};

/// How often a compare-and-set may lose to another process before the caller loads without a lease.
const ATTEMPTS: usize = 4;
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(100);

/// What a look at the backend came to.
pub(crate) enum Acquired<T> {
    /// A fresh value.
    Value(Sight<T>),
    /// A value that answers although it is stale: a load has just failed, or somebody else's takes too long.
    Stale(Sight<T>),
    /// This caller loads and may store; with what is there to fall back on, or to replace.
    Lease(Lease, Option<Sight<T>>),
    /// This caller loads and must not store: the backend is away, or somebody else loads and takes too long.
    Alone,
}

/// A value as it lies in the backend.
pub(crate) struct Sight<T> {
    pub(crate) value: T,
    /// By which it can be told later whether it still counts.
    pub(crate) about: About,
    /// For how long it is fresh.
    pub(crate) left: Duration,
    /// For how long it can be fallen back on.
    pub(crate) kept: Duration,
    /// Whether it is time to refresh it ahead.
    pub(crate) due: bool,
    pub(crate) etag: Option<Box<str>>,
    /// Names the write, or the lease that was written into it.
    pub(crate) token: u128,
}

/// What a look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To read, or to load what cannot be read.
    Read,
    /// To load anew, whatever is there.
    Refresh,
    /// To load anew what is due and not being loaded, without waiting.
    Ahead,
}

/// Turns an entry into a value, if it is one.
pub(crate) type Decode<'a, T> = &'a (dyn Fn(&Entry<'_>) -> Option<T> + Send + Sync);

/// Called with a fresh value as it was read, so that L1 keeps it.
pub(crate) type Keep<'a, T> = &'a (dyn Fn(&T, &Entry<'_>, &Asked) + Send + Sync);

/// How a look-up is done.
pub(crate) struct Look<'a, T> {
    pub(crate) asked: Asked,
    pub(crate) keep: Keep<'a, T>,
    pub(crate) key: &'a Key,
    pub(crate) fingerprint: u64,
    /// Those that are known without loading.
    pub(crate) tags: &'a [TagId],
    pub(crate) decode: Decode<'a, T>,
    /// The token of the flight: a lease that bears it is this flight's own, taken by a caller that was cancelled.
    pub(crate) token: u128,
    /// Set before a lease is asked for.
    pub(crate) leased: &'a AtomicBool,
    /// Which of the callers of the flight asks for the lease, and whether one has had it.
    pub(crate) claim: &'a AtomicU8,
    pub(crate) intent: Intent,
    /// From which part of its life a value is due.
    pub(crate) ahead: Option<f64>,
    /// How long to wait for somebody else's load.
    pub(crate) patience: Duration,
    /// The same, where there is a stale value to answer with.
    pub(crate) stale_patience: Duration,
    /// Told when this caller begins and ends to wait for somebody else's load.
    pub(crate) waits: &'a (dyn Fn(bool) + Send + Sync),
    /// Called once for each thing found that cannot be used.
    pub(crate) unusable: &'a (dyn Fn() + Send + Sync),
}

/// Nobody asks for the lease of a flight, or who did has gone without it.
const FREE: u8 = 0;
const ASKED: u8 = 1;
/// Somebody has had it.
const TAKEN: u8 = 2;

/// A caller that asks for the lease of its flight. Dropped without it, another one may ask.
pub(super) struct Claim<'a>(&'a AtomicU8);

impl Claim<'_> {
    pub(super) fn taken(self) {
        self.0.store(TAKEN, Ordering::SeqCst);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let _ = self
            .0
            .compare_exchange(ASKED, FREE, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl<T> Look<'_, T> {
    /// The lease that was found is this flight's own: it has been taken.
    pub(super) fn lease_found(&self) {
        self.claim.store(TAKEN, Ordering::SeqCst);
    }

    /// The right to ask for the lease; `None` if another caller of the flight asks for it or has had it.
    ///
    /// Callers of a load that failed load at once, under one lease. If that lease is gone, it was removed with the key: taken
    /// again under the same name, it would let a load store that began before the removal.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        let claimed = self
            .claim
            .compare_exchange(FREE, ASKED, Ordering::SeqCst, Ordering::SeqCst);
        claimed.ok()?;
        self.leased.store(true, Ordering::Relaxed);
        Some(Claim(self.claim))
    }

    /// The answer is a fresh value, and no lease is asked for.
    pub(super) fn answered_by(&self, entry: &Entry<'_>, seen: &Sight<T>) {
        (self.keep)(&seen.value, entry, &self.asked);
        self.leased.store(false, Ordering::Relaxed);
    }

    pub(super) fn seen(&self, entry: &Entry<'_>, now: u64) -> Option<Sight<T>> {
        let value = (self.decode)(entry)?;
        let times = entry.about.times;
        let left = |until: u64| Duration::from_millis(until.saturating_sub(now));
        Some(Sight {
            value,
            about: entry.about.clone(),
            left: left(times.fresh_until),
            kept: left(times.kept_until.max(times.fresh_until)),
            // A `None` is no value that others go on getting.
            due: !entry.nothing
                && entry.mark.is_none_or(|mark| !mark.holds(now))
                && self.is_due(entry, now),
            etag: entry.etag.map(Into::into),
            token: entry.token,
        })
    }

    /// `refresh_ahead` as a moment: a part of the life that was drawn when the value was stored.
    fn is_due(&self, entry: &Entry<'_>, now: u64) -> bool {
        self.ahead.is_some_and(|part| entry.due_in(part, now) == 0)
    }
}

impl Tier {
    /// Reads the value of a key, or takes the lease for loading it.
    ///
    /// Waits while another process holds the lease, at most `look.patience` in all.
    pub(crate) async fn acquire<T>(&self, look: &Look<'_, T>, budget: &mut Budget) -> Acquired<T> {
        let whole = budget.0;
        self.ask(look.key, &look.asked);
        let read = self.look_up(look.key, look.tags, budget).await;
        if let Ok((Some(bytes), tokens)) = &read
            && let Some(seen) = self.hit(look, bytes, tokens)
        {
            return Acquired::Value(seen);
        }
        // In a box of its own, since most looks do not come here: the future of a hit is made for every one of them.
        Box::pin(self.acquire_after(look, read, whole, budget)).await
    }

    /// The same, after a first read that had a `whole` budget and was no hit.
    async fn acquire_after<T>(
        &self,
        look: &Look<'_, T>,
        mut read: Result<(Option<Bytes>, Seen), Error>,
        whole: Duration,
        budget: &mut Budget,
    ) -> Acquired<T> {
        let took = whole.saturating_sub(budget.0);
        let begun = Instant::now();
        let mut left = whole;
        let mut poll = FIRST_POLL;
        let mut lost = 0;
        loop {
            // An error has been counted by the breaker. The caller gets its value all the same.
            let Ok(step) = self.step(look, read, budget).await else {
                return Acquired::Alone;
            };
            match step {
                Step::Done(acquired) => return acquired,
                Step::Again => {
                    lost += 1;
                    if lost == ATTEMPTS {
                        return Acquired::Alone;
                    }
                }
                Step::Wait(_) if look.intent == Intent::Ahead => return Acquired::Alone,
                Step::Wait(stale) => {
                    let patience = if stale.is_some() {
                        look.stale_patience.min(look.patience)
                    } else {
                        look.patience
                    };
                    let waited = took + begun.elapsed();
                    if waited >= patience {
                        return Box::pin(self.out_of_patience(look, stale, budget)).await;
                    }
                    // A backend that answers is not what the budget is about: waiting has a bound of its own.
                    budget.0 = left;
                    let pause = poll.mul_f64(0.75 + fastrand::f64() / 2.0);
                    let pause = pause.min(patience.saturating_sub(waited));
                    (look.waits)(true);
                    Box::pin(self.until_changed(look.key, &look.asked, pause)).await;
                    (look.waits)(false);
                    poll = (poll * 2).min(LONGEST_POLL);
                }
            }
            left = budget.0;
            self.ask(look.key, &look.asked);
            read = self.look_up(look.key, look.tags, budget).await;
        }
    }

    async fn out_of_patience<T>(
        &self,
        look: &Look<'_, T>,
        stale: Option<Bytes>,
        budget: &mut Budget,
    ) -> Acquired<T> {
        let stale = stale.unwrap_or_default();
        let Found::Value(mut entry) = wire::read(&stale, look.fingerprint) else {
            return Acquired::Alone;
        };
        // Its tags may have been invalidated while this caller waited.
        let tokens = &mut Seen::default();
        match self.admits(&mut entry.about, tokens, budget).await {
            Ok(true) => look
                .seen(&entry, self.backend_ms())
                .map_or(Acquired::Alone, Acquired::Stale),
            _ => Acquired::Alone,
        }
    }

    /// What most looks come to: a fresh value of which nothing has to be asked.
    fn hit<T>(&self, look: &Look<'_, T>, bytes: &Bytes, tokens: &Seen) -> Option<Sight<T>> {
        let Found::Value(mut entry) = wire::read(bytes, look.fingerprint) else {
            return None;
        };
        if look.intent != Intent::Read
            || !self.is_known(&entry.about, tokens)
            || !self.counts(&mut entry.about, tokens)
        {
            return None;
        }
        let now = self.backend_ms();
        // The lease in its header may be of this flight.
        if !entry.is_fresh(now) || entry.token == look.token {
            return None;
        }
        let seen = look.seen(&entry, now)?;
        look.answered_by(&entry, &seen);
        Some(seen)
    }
}
