//! Loads that are single, and fenced, across processes: the value key itself carries the lease.
//!
//! A key is absent, holds a lease, or holds a value; each step from one to the next is a compare-and-set. Whatever
//! removes the key (by name, by pattern, by anybody) removes the lease with it, so a load that began before a removal
//! can never store what it brings: its last compare-and-set finds nothing to replace. After "Scaling Memcache at
//! Facebook" (Nishtala et al., NSDI 2013), §3.2.1, with the lease in the place of the value.
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
use crate::guard::Guard;
use crate::key::Key;
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::tag::TagId;
use crate::target::Target;
use crate::wire::{self, About, Found, Stamp, Times};

/// How often a compare-and-set may lose to another process before the caller loads without a lease.
const ATTEMPTS: usize = 4;
/// For how many times the life of a lease an entry is kept whose refresh is under way.
const REFRESH_LEASES: u32 = 6;
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// How long the mark lives that replaces a lease given back.
const RELEASED: Duration = Duration::from_millis(1);

/// The right to store what a load brings.
#[derive(Debug)]
pub(crate) struct Lease {
    /// What has to lie under the key for the store to succeed; `None` where the backend cannot compare.
    stamp: Option<Stamp>,
    /// What the stored value has to carry.
    labels: Labels,
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
    /// A usable value, and for how long it is fresh.
    Value(T, Duration),
    /// Nothing usable; this caller loads and may store.
    Lease(Lease),
    /// This caller loads and must not store: the backend is away, or somebody else loads and takes too long.
    Alone,
}

/// Called with a fresh value as it was read, so that L1 keeps it.
pub(crate) type Keep<'a, T> = &'a (dyn Fn(&T, &About, &Asked) + Send + Sync);

/// How a look-up is done.
pub(crate) struct Look<'a, T> {
    pub(crate) asked: Asked,
    pub(crate) keep: Keep<'a, T>,
    pub(crate) key: &'a Key,
    pub(crate) fingerprint: u64,
    /// Those that are known without loading.
    pub(crate) tags: &'a [TagId],
    pub(crate) decode: &'a (dyn Fn(&[u8]) -> Option<T> + Send + Sync),
    /// The token of the flight: a lease that bears it is this flight's own, taken by a caller that was cancelled.
    pub(crate) token: u128,
    /// Set before a lease is asked for.
    pub(crate) leased: &'a AtomicBool,
    /// Which of the callers of the flight asks for the lease, and whether one has had it.
    pub(crate) claim: &'a AtomicU8,
    /// A refresh does not read: it takes the lease over whatever is there.
    pub(crate) refresh: bool,
    pub(crate) patience: Duration,
    /// Called once for each thing found that cannot be used.
    pub(crate) unusable: &'a (dyn Fn() + Send + Sync),
}

/// Nobody asks for the lease of a flight, or who did has gone without it.
const FREE: u8 = 0;
const ASKED: u8 = 1;
/// Somebody has had it.
const TAKEN: u8 = 2;

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
}

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

/// Sees to a lease whose task is cut off, by the end of its runtime: the connection ends with that runtime, and before
/// another one is trusted the key is removed. So nobody waits for a load that has ended.
pub(crate) struct CutOff(Option<(Arc<Tier>, Key)>);

impl CutOff {
    pub(crate) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some((tier, key)) = self.0.take() {
            tier.postpone(&[Target::Key(key)]);
        }
    }
}

enum Step<T> {
    Done(Acquired<T>),
    Wait,
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
                Step::Wait => {
                    if begun.elapsed() >= look.patience {
                        return Acquired::Alone;
                    }
                    // A backend that answers is not what the budget is about: waiting has a bound of its own.
                    budget.0 = left;
                    let pause = poll.mul_f64(0.75 + fastrand::f64() / 2.0);
                    self.until_changed(look.key, &look.asked, pause).await;
                    poll = (poll * 2).min(LONGEST_POLL);
                }
            }
        }
        Acquired::Alone
    }

    async fn step<T>(&self, look: &Look<'_, T>, budget: &mut Budget) -> Result<Step<T>, Error> {
        match self.look_up(look.key, look.tags, budget).await {
            Ok((Some(bytes), mut seen)) => self.step_over(look, bytes, &mut seen, budget).await,
            Ok((None, mut seen)) => self.step_absent(look, &mut seen, budget).await,
            Err(error) if error.kind() == ErrorKind::WrongType => {
                (look.unusable)();
                self.step_absent(look, &mut Seen::default(), budget).await
            }
            Err(error) => Err(error),
        }
    }

    async fn step_absent<T>(
        &self,
        look: &Look<'_, T>,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        if !self.compares() {
            return self.leased(look, None, seen, budget).await;
        }
        let Some(claim) = look.claim() else {
            return Ok(Step::Done(Acquired::Alone));
        };
        let bytes = self.lease_bytes(look.token);
        let stamp = stamp_of(&bytes);
        let lease = (bytes, self.config.lease_ttl);
        let (outcome, labels) = self
            .set_lease((look.key, look.tags), lease, When::Absent, seen, budget)
            .await?;
        match outcome {
            SetOutcome::Stored => {
                claim.taken();
                Ok(Step::Done(Acquired::Lease(Lease {
                    stamp: Some(stamp),
                    labels,
                })))
            }
            // Somebody was faster. Their value may be there already.
            SetOutcome::Refused(Some(bytes)) => {
                drop(claim);
                self.step_over(look, bytes, seen, budget).await
            }
            SetOutcome::Refused(None) => Ok(Step::Again),
        }
    }

    /// A lease that has been taken, or that nobody can take, with the labels still to be read.
    async fn leased<T>(
        &self,
        look: &Look<'_, T>,
        stamp: Option<Stamp>,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        let labels = self.label(look.tags, true, seen, budget).await?;
        Ok(Step::Done(Acquired::Lease(Lease { stamp, labels })))
    }

    async fn step_over<T>(
        &self,
        look: &Look<'_, T>,
        bytes: Bytes,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        let mut found = wire::read(&bytes, look.fingerprint);
        if let Found::Value(entry) = &mut found
            && !self.admits(&mut entry.about, seen, budget).await?
        {
            // Invalidated. A lease in its header is for a load that began before that.
            return self.take_over(look, &bytes, None, seen, budget).await;
        }
        match found {
            // Kept beyond its time only by the lease of a refresh.
            Found::Value(entry)
                if !look.refresh
                    && entry.leased_until.is_some()
                    && entry.about.times.fresh_until <= self.backend_ms() =>
            {
                Ok(Step::Wait)
            }
            Found::Value(entry) if !look.refresh => {
                let times = entry.about.times;
                if let Some(value) = (look.decode)(entry.payload) {
                    self.note(look.key);
                    (look.keep)(&value, &entry.about, &look.asked);
                    look.leased.store(false, Ordering::Relaxed);
                    let left =
                        Duration::from_millis(times.fresh_until.saturating_sub(self.backend_ms()));
                    return Ok(Step::Done(Acquired::Value(value, left)));
                }
                (look.unusable)();
                self.take_over(look, &bytes, None, seen, budget).await
            }
            Found::Value(entry) => {
                let times = entry.about.times;
                self.take_over(look, &bytes, Some(times), seen, budget)
                    .await
            }
            Found::Lease { token } if token == look.token => {
                look.claim.store(TAKEN, Ordering::SeqCst);
                self.leased(look, Some(stamp_of(&bytes)), seen, budget)
                    .await
            }
            Found::Lease { .. } if !look.refresh => Ok(Step::Wait),
            Found::Lease { .. } => self.take_over(look, &bytes, None, seen, budget).await,
            Found::Foreign => {
                (look.unusable)();
                self.take_over(look, &bytes, None, seen, budget).await
            }
        }
    }

    /// Replaces what is there with a lease; where it is a value that others may go on reading (`keep`), writes the
    /// lease into its header.
    async fn take_over<T>(
        &self,
        look: &Look<'_, T>,
        found: &[u8],
        keep: Option<Times>,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Step<T>, Error> {
        if !self.compares() {
            return self.leased(look, None, seen, budget).await;
        }
        let Some(claim) = look.claim() else {
            return Ok(Step::Done(Acquired::Alone));
        };
        let now = self.backend_ms();
        let until = now.saturating_add(millis(self.config.lease_ttl));
        let kept = keep.and_then(|times| {
            let left = Duration::from_millis(times.kept_until.saturating_sub(now));
            // It has to outlive the load: a lease in a header is not renewed.
            let left = left.max(self.config.lease_ttl.saturating_mul(REFRESH_LEASES));
            wire::leased(found, look.token, until).map(|bytes| (bytes, left))
        });
        let (bytes, ttl) =
            kept.unwrap_or_else(|| (wire::lease(look.token, now, until), self.config.lease_ttl));
        let stamp = stamp_of(&bytes);
        let when = When::Matches(wire::stamp(found));
        let (outcome, labels) = self
            .set_lease((look.key, look.tags), (bytes, ttl), when, seen, budget)
            .await?;
        match outcome {
            SetOutcome::Stored => {
                claim.taken();
                Ok(Step::Done(Acquired::Lease(Lease {
                    stamp: Some(stamp),
                    labels,
                })))
            }
            SetOutcome::Refused(_) => Ok(Step::Again),
        }
    }

    /// Puts the value in the place of the lease; `false` if the lease is gone, because the key was removed meanwhile.
    pub(crate) async fn fill(
        &self,
        key: &Key,
        lease: &Lease,
        value: Vec<u8>,
        ttl: Duration,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        let Some(stamp) = &lease.stamp else {
            return self
                .set(key, value, ttl, When::Always, budget)
                .await
                .map(|_| true);
        };
        let when = if self.config.guards.stands(Guard::CompareAndSet) {
            When::Matches(stamp)
        } else {
            When::Always
        };
        let stored = self.set(key, value.clone(), ttl, when, budget).await;
        match stored {
            Ok(outcome) => Ok(outcome == SetOutcome::Stored),
            // A user without the right to run scripts. From now on loads are single in a process only.
            Err(error) if error.kind() == ErrorKind::Denied => {
                self.cas_denied.store(true, Ordering::Relaxed);
                self.set(key, value, ttl, When::Always, budget)
                    .await
                    .map(|_| true)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets others load: this load brought nothing to store.
    ///
    /// Dropped before its end, or never polled, because the runtime has ended: see [`CutOff`].
    pub(crate) fn release(
        self: &Arc<Self>,
        key: &Key,
        token: u128,
    ) -> impl Future<Output = ()> + Send + 'static {
        let cut_off = self.answer_for(key);
        async move {
            let Some((tier, key)) = &cut_off.0 else {
                return;
            };
            if tier.rewrite(key, token, RELEASED).await.is_err() {
                tier.abandon(key).await;
            }
            cut_off.done();
        }
    }

    /// What a task that settles the lease of `key` holds until it has.
    pub(crate) fn answer_for(self: &Arc<Self>, key: &Key) -> CutOff {
        CutOff(Some((Arc::clone(self), key.clone())))
    }

    /// Holds the lease for another while.
    pub(crate) async fn renew(&self, key: &Key, token: u128) {
        // Not done, the lease ends by itself.
        let _ = self.rewrite(key, token, self.config.lease_ttl).await;
    }

    /// Lets go of a lease that could neither be filled nor given back: the backend is full, or away. The key is removed,
    /// now or before the backend is trusted again, so that nobody waits for a load that has ended. Where something else
    /// lies under it by then, that costs a load.
    pub(crate) async fn abandon(&self, key: &Key) {
        if !self.compares() {
            return;
        }
        let target = [Target::Key(key.clone())];
        for _ in 0..2 {
            if self.write_down(&target) {
                return;
            }
            let full = self.full_key(key);
            let full = [super::as_str(&full)];
            match self
                .run(&mut self.budget(), self.backend.remove(&full))
                .await
            {
                Ok(_) => return,
                // It will never be done: the lease ends by itself.
                Err(error) if super::is_refusal(&error) => return,
                Err(_) => {}
            }
        }
        // Three operations in a row without an answer.
        self.postpone(&target);
    }

    /// A lease in the header of a value needs neither: nobody waits for it, and the value goes by its own TTL. Its
    /// stamp differs, so that nothing is written then.
    async fn rewrite(&self, key: &Key, token: u128, ttl: Duration) -> Result<(), Error> {
        if !self.compares() {
            return Ok(());
        }
        let bytes = self.lease_bytes(token);
        let stamp = stamp_of(&bytes);
        self.set(key, bytes, ttl, When::Matches(&stamp), &mut self.budget())
            .await
            .map(drop)
    }

    fn lease_bytes(&self, token: u128) -> Vec<u8> {
        let now = self.backend_ms();
        wire::lease(
            token,
            now,
            now.saturating_add(millis(self.config.lease_ttl)),
        )
    }
}

fn stamp_of(envelope: &[u8]) -> Stamp {
    let mut stamp = [0; wire::STAMP];
    stamp.copy_from_slice(wire::stamp(envelope));
    stamp
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
