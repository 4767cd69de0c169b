//! Loads that are single, and fenced, across processes: the value key itself carries the lease.
//!
//! Each step from one state of a key to the next is a compare-and-set on the front of what lies there:
//!
//! ```text
//! absent, garbage, gone ──► lease ──────────────────────────────► value
//! stale, or fresh and refreshed ──► the same value, leased ─────► value
//!                                     ├─ the load failed ───────► the same value, failed: nobody tries before a time
//!                                     └─ it came to nothing ────► the same value
//! ```
//!
//! Whatever removes the key (by name, by pattern, by anybody) removes the lease with it, so a load that began before a
//! removal can never store what it brings: its last compare-and-set finds nothing to replace. Nor is a value that was
//! removed meanwhile fallen back on: marking it as failed finds nothing either. After "Scaling Memcache at Facebook"
//! (Nishtala et al., NSDI 2013), §3.2.1, with the lease in the place of the value.
//!
//! A value is *fresh* before `fresh_until`, *stale* before `kept_until`, *gone* after that, whatever the backend still
//! holds: a lease may keep an entry beyond its time, so that the load finds it, and nobody reads it then.
//!
//! A hit is one command. A miss is three: read, take the lease, store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::tokens::{Labels, Seen};
use super::{Asked, Budget, Tier};
use crate::backend::{SetOutcome, When};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::tag::TagId;
use crate::wire::{self, About, Entry, Found, Mark, Stamp};

/// How often a compare-and-set may lose to another process before the caller loads without a lease.
const ATTEMPTS: usize = 4;
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(100);

/// The right to store what a load brings.
#[derive(Debug)]
pub(crate) struct Lease {
    /// What has to lie under the key for the store to succeed; `None` where the backend cannot compare.
    pub(super) stamp: Option<Stamp>,
    /// The value that the lease is written into.
    pub(crate) over: Option<Arc<Over>>,
    /// What the stored value has to carry.
    labels: Labels,
}

/// A value with a lease in its header.
#[derive(Debug)]
pub(crate) struct Over {
    pub(super) bytes: Bytes,
    kept_until: u64,
}

impl Lease {
    /// Whether the backend itself refuses the store once the key has been removed.
    pub(crate) fn is_compared(&self) -> bool {
        self.stamp.is_some()
    }

    /// What was read before the load, for the value that it brings.
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }
}

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
struct Claim<'a>(&'a AtomicU8);

impl Claim<'_> {
    fn taken(self) {
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
    /// The right to ask for the lease; `None` if another caller of the flight asks for it or has had it.
    ///
    /// Callers of a load that failed load at once, under one lease. If that lease is gone, it was removed with the key: taken
    /// again under the same name, it would let a load store that began before the removal.
    fn claim(&self) -> Option<Claim<'_>> {
        let claimed = self
            .claim
            .compare_exchange(FREE, ASKED, Ordering::SeqCst, Ordering::SeqCst);
        claimed.ok()?;
        self.leased.store(true, Ordering::Relaxed);
        Some(Claim(self.claim))
    }

    fn seen(&self, entry: &Entry<'_>, now: u64) -> Option<Sight<T>> {
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

impl Mark {
    fn holds(self, now: u64) -> bool {
        match self {
            Self::Leased(until) | Self::Failed(until) => now < until,
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one step, on the stack of a boxed future"
)]
enum Step<T> {
    Done(Acquired<T>),
    /// Somebody else loads; this is the stale value that is there meanwhile.
    Wait(Option<Bytes>),
    Again,
}

impl Tier {
    /// Reads the value of a key, or takes the lease for loading it.
    ///
    /// Waits while another process holds the lease, at most `look.patience` in all.
    pub(crate) async fn acquire<T>(&self, look: &Look<'_, T>, budget: &mut Budget) -> Acquired<T> {
        let begun = Instant::now();
        let mut poll = FIRST_POLL;
        let mut lost = 0;
        while lost < ATTEMPTS {
            let left = budget.0;
            self.ask(look.key, &look.asked);
            // An error has been counted by the breaker. The caller gets its value all the same.
            let Ok(step) = self.step(look, budget).await else {
                return Acquired::Alone;
            };
            match step {
                Step::Done(acquired) => return acquired,
                Step::Again => lost += 1,
                Step::Wait(_) if look.intent == Intent::Ahead => return Acquired::Alone,
                Step::Wait(stale) => {
                    let patience = if stale.is_some() {
                        look.stale_patience.min(look.patience)
                    } else {
                        look.patience
                    };
                    let waited = begun.elapsed();
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
        }
        Acquired::Alone
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

    /// What is not on the way of a hit is in boxes of its own, here and below: the future of a hit is made and moved for
    /// every one of them.
    async fn step<T>(&self, look: &Look<'_, T>, budget: &mut Budget) -> Result<Step<T>, Error> {
        match self.look_up(look.key, look.tags, budget).await {
            Ok((Some(bytes), mut tokens)) => self.step_over(look, bytes, &mut tokens, budget).await,
            Ok((None, mut tokens)) => Box::pin(self.step_absent(look, &mut tokens, budget)).await,
            Err(error) if error.kind() == ErrorKind::WrongType => {
                (look.unusable)();
                let tokens = &mut Seen::default();
                Box::pin(self.step_absent(look, tokens, budget)).await
            }
            Err(error) => Err(error),
        }
    }

    async fn step_absent<T>(
        &self,
        look: &Look<'_, T>,
        tokens: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        if look.intent == Intent::Ahead {
            // It was removed, or is gone: whoever asks for it next loads it.
            return Ok(Step::Done(Acquired::Alone));
        }
        if !self.compares() {
            return self.leased(look, (None, None, None), tokens, budget).await;
        }
        let Some(claim) = look.claim() else {
            return Ok(Step::Done(Acquired::Alone));
        };
        let bytes = self.lease_bytes(look.token);
        let stamp = stamp_of(&bytes);
        let lease = (bytes, self.config.lease_ttl);
        let (outcome, labels) = self
            .set_lease((look.key, look.tags), lease, When::Absent, tokens, budget)
            .await?;
        match outcome {
            SetOutcome::Stored => {
                claim.taken();
                let lease = Lease {
                    stamp: Some(stamp),
                    over: None,
                    labels,
                };
                Ok(Step::Done(Acquired::Lease(lease, None)))
            }
            SetOutcome::Refused(found) => {
                drop(claim);
                look.leased.store(false, Ordering::Relaxed);
                match found {
                    // Somebody was faster. Their value may be there already.
                    Some(bytes) => self.step_over(look, bytes, tokens, budget).await,
                    None => Ok(Step::Again),
                }
            }
        }
    }

    /// A lease that has been taken, or that nobody can take, with the labels still to be read.
    async fn leased<T>(
        &self,
        look: &Look<'_, T>,
        (stamp, over, seen): (Option<Stamp>, Option<Arc<Over>>, Option<Sight<T>>),
        tokens: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        let labels = self.label(look.tags, true, tokens, budget).await?;
        let lease = Lease {
            stamp,
            over,
            labels,
        };
        Ok(Step::Done(Acquired::Lease(lease, seen)))
    }

    async fn step_over<T>(
        &self,
        look: &Look<'_, T>,
        bytes: Bytes,
        tokens: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        match wire::read(&bytes, look.fingerprint) {
            Found::Value(mut entry) => {
                if self.admits(&mut entry.about, tokens, budget).await? {
                    self.step_value(look, &bytes, &entry, tokens, budget).await
                } else {
                    // Invalidated. A lease in its header is for a load that began before that.
                    Box::pin(self.take_over(look, &bytes, None, tokens, budget)).await
                }
            }
            Found::Lease { token } if token == look.token => {
                look.claim.store(TAKEN, Ordering::SeqCst);
                let taken = (Some(stamp_of(&bytes)), None, None);
                Box::pin(self.leased(look, taken, tokens, budget)).await
            }
            Found::Lease { .. } if look.intent != Intent::Refresh => Ok(Step::Wait(None)),
            Found::Lease { .. } => {
                Box::pin(self.take_over(look, &bytes, None, tokens, budget)).await
            }
            Found::Foreign => {
                (look.unusable)();
                Box::pin(self.take_over(look, &bytes, None, tokens, budget)).await
            }
        }
    }

    async fn step_value<T>(
        &self,
        look: &Look<'_, T>,
        bytes: &Bytes,
        entry: &Entry<'_>,
        tokens: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        let now = self.backend_ms();
        let fresh = entry.is_fresh(now);
        let kept = fresh || now < entry.about.times.kept_until;
        let mark = entry.mark.filter(|mark| mark.holds(now));
        if let (Some(Mark::Leased(_)), true) = (mark, entry.token == look.token) {
            // Taken by a caller of this flight that was cancelled.
            look.claim.store(TAKEN, Ordering::SeqCst);
            let over = Arc::new(Over::new(bytes, entry));
            let seen = look.seen(entry, now).filter(|_| kept);
            let taken = (Some(stamp_of(bytes)), Some(over), seen);
            return Box::pin(self.leased(look, taken, tokens, budget)).await;
        }
        if !kept {
            return match mark {
                Some(Mark::Leased(_)) if look.intent != Intent::Refresh => Ok(Step::Wait(None)),
                _ => Box::pin(self.take_over(look, bytes, None, tokens, budget)).await,
            };
        }
        if look.intent == Intent::Refresh {
            return Box::pin(self.take_over(look, bytes, Some((entry, now)), tokens, budget)).await;
        }
        if look.intent == Intent::Ahead && mark.is_some() {
            return Ok(Step::Done(Acquired::Alone));
        }
        if fresh {
            let Some(seen) = look.seen(entry, now) else {
                (look.unusable)();
                return Box::pin(self.take_over(look, bytes, None, tokens, budget)).await;
            };
            if look.intent == Intent::Ahead && seen.due {
                return Box::pin(self.take_over(look, bytes, Some((entry, now)), tokens, budget))
                    .await;
            }
            self.note(look.key);
            (look.keep)(&seen.value, entry, &look.asked);
            look.leased.store(false, Ordering::Relaxed);
            return Ok(Step::Done(Acquired::Value(seen)));
        }
        match mark {
            Some(Mark::Failed(_)) => {
                if let Some(seen) = look.seen(entry, now) {
                    look.leased.store(false, Ordering::Relaxed);
                    return Ok(Step::Done(Acquired::Stale(seen)));
                }
                (look.unusable)();
                Box::pin(self.take_over(look, bytes, None, tokens, budget)).await
            }
            Some(Mark::Leased(_)) => Ok(Step::Wait(Some(bytes.clone()))),
            None => {
                let over = self.take_over(look, bytes, Some((entry, now)), tokens, budget);
                Box::pin(over).await
            }
        }
    }

    /// Replaces what is there with a lease; where it is a value that others may go on reading (`keep`), writes the
    /// lease into its header.
    async fn take_over<T>(
        &self,
        look: &Look<'_, T>,
        found: &[u8],
        keep: Option<(&Entry<'_>, u64)>,
        tokens: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        let seen = keep.and_then(|(entry, now)| look.seen(entry, now));
        if !self.compares() {
            return self.leased(look, (None, None, seen), tokens, budget).await;
        }
        let Some(claim) = look.claim() else {
            return Ok(Step::Done(Acquired::Alone));
        };
        let now = self.backend_ms();
        let until = now.saturating_add(millis(self.config.lease_ttl));
        let kept = keep.and_then(|(entry, _)| {
            let bytes = Bytes::from(wire::leased(found, look.token, until)?);
            let kept_until = entry.about.times.kept_until;
            Some(Arc::new(Over { bytes, kept_until }))
        });
        let (bytes, ttl) = match &kept {
            // It has to outlive the load, which renews it.
            Some(over) => (
                over.bytes.to_vec(),
                over.left(now).max(self.config.lease_ttl),
            ),
            None => (wire::lease(look.token, now, until), self.config.lease_ttl),
        };
        let stamp = stamp_of(&bytes);
        let when = When::Matches(wire::stamp(found));
        let (outcome, labels) = self
            .set_lease((look.key, look.tags), (bytes, ttl), when, tokens, budget)
            .await?;
        match outcome {
            SetOutcome::Stored => {
                claim.taken();
                let seen = seen.map(|seen| Sight {
                    token: look.token,
                    ..seen
                });
                let stamp = Some(stamp);
                let lease = Lease {
                    stamp,
                    over: kept,
                    labels,
                };
                Ok(Step::Done(Acquired::Lease(lease, seen)))
            }
            SetOutcome::Refused(_) => {
                look.leased.store(false, Ordering::Relaxed);
                Ok(Step::Again)
            }
        }
    }

    pub(super) fn lease_bytes(&self, token: u128) -> Vec<u8> {
        let now = self.backend_ms();
        wire::lease(
            token,
            now,
            now.saturating_add(millis(self.config.lease_ttl)),
        )
    }
}

impl Over {
    fn new(bytes: &Bytes, entry: &Entry<'_>) -> Self {
        Self {
            bytes: bytes.clone(),
            kept_until: entry.about.times.kept_until,
        }
    }

    pub(super) fn left(&self, now: u64) -> Duration {
        Duration::from_millis(self.kept_until.saturating_sub(now))
    }
}

pub(super) fn stamp_of(envelope: &[u8]) -> Stamp {
    let mut stamp = [0; wire::STAMP];
    stamp.copy_from_slice(wire::stamp(envelope));
    stamp
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
