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

use super::look::{Acquired, Intent, Look, Sight};
use super::tokens::{Labels, Seen};
use super::{Budget, Tier};
use crate::backend::{SetOutcome, When};
use crate::error::{Error, ErrorKind};
use crate::sync::atomic::Ordering;
use crate::wire::{self, Entry, Found, Mark, Stamp};

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

impl Mark {
    pub(super) fn holds(self, now: u64) -> bool {
        match self {
            Self::Leased(until) | Self::Failed(until) => now < until,
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one step, on the stack of a boxed future"
)]
pub(super) enum Step<T> {
    Done(Acquired<T>),
    /// Somebody else loads; this is the stale value that is there meanwhile.
    Wait(Option<Bytes>),
    Again,
}

impl Tier {
    /// What comes of a read that was no hit. Each way is in a box of its own.
    pub(super) async fn step<T>(
        &self,
        look: &Look<'_, T>,
        read: Result<(Option<Bytes>, Seen), Error>,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        match read {
            Ok((Some(bytes), mut tokens)) => {
                Box::pin(self.step_over(look, bytes, &mut tokens, budget)).await
            }
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
                look.lease_found();
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
            look.lease_found();
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
            look.answered_by(entry, &seen);
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
