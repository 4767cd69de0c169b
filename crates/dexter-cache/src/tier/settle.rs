//! The last steps of a lease: the value in its place, or the key as if there had been no load.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lease::{Lease, Over, millis, stamp_of};
use super::{Budget, Tier};
use crate::backend::{SetOutcome, When};
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::key::Key;
use crate::target::Target;
use crate::wire;

/// How long the mark lives that replaces a lease given back.
const RELEASED: Duration = Duration::from_millis(1);

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

impl Tier {
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

    /// Lets others load: this load brought nothing to store. A value that the lease was written into stays.
    ///
    /// Dropped before its end, or never polled, because the runtime has ended: see [`CutOff`].
    pub(crate) fn release(
        self: &Arc<Self>,
        key: &Key,
        token: u128,
    ) -> impl Future<Output = ()> + Send + use<> {
        let cut_off = self.answer_for(key);
        async move {
            let Some((tier, key)) = &cut_off.0 else {
                return;
            };
            match tier.rewrite(key, token, RELEASED).await {
                Ok(SetOutcome::Stored) => {}
                Ok(SetOutcome::Refused(_)) => {
                    // Not done, the lease ends by itself, and the value can be read all the while.
                    let _ = tier.unmark(key, token).await;
                }
                Err(_) => tier.abandon(key).await,
            }
            cut_off.done();
        }
    }

    /// What a task that settles the lease of `key` holds until it has.
    pub(crate) fn answer_for(self: &Arc<Self>, key: &Key) -> CutOff {
        CutOff(Some((Arc::clone(self), key.clone())))
    }

    /// Takes the lease out of the header of a value.
    async fn unmark(&self, key: &Key, token: u128) -> Result<(), Error> {
        let budget = &mut self.budget();
        let Some(bytes) = self.get(key, budget).await? else {
            return Ok(());
        };
        let Some((kept_until, marked)) = wire::leased_by(&bytes, token) else {
            return Ok(());
        };
        let left = Duration::from_millis(kept_until.saturating_sub(self.backend_ms()));
        self.set(
            key,
            marked,
            left.max(RELEASED),
            When::Matches(wire::stamp(&bytes)),
            budget,
        )
        .await
        .map(drop)
    }

    /// Holds the lease for another while.
    pub(crate) async fn renew(&self, key: &Key, token: u128, over: Option<&Over>) {
        // Not done, the lease ends by itself.
        let Some(over) = over else {
            let _ = self.rewrite(key, token, self.config.lease_ttl).await;
            return;
        };
        let now = self.backend_ms();
        let until = now.saturating_add(millis(self.config.lease_ttl));
        let left = over.left(now).max(self.config.lease_ttl);
        // The stamp stays as it is: what it names is the lease.
        if let Some(bytes) = wire::leased(&over.bytes, token, until) {
            let when = When::Matches(wire::stamp(&over.bytes));
            let _ = self.set(key, bytes, left, when, &mut self.budget()).await;
        }
    }

    /// Puts the next load off: this one has failed. `false` if the value that the lease was written into is gone, or is
    /// no longer to be fallen back on.
    pub(crate) async fn put_off(
        self: &Arc<Self>,
        key: &Key,
        lease: &Lease,
        token: u128,
        throttle: Duration,
    ) -> Result<bool, Error> {
        let (Some(stamp), Some(over)) = (&lease.stamp, &lease.over) else {
            return self.still_holds(key, token).await;
        };
        let now = self.backend_ms();
        let left = over.left(now);
        let until = now.saturating_add(millis(throttle));
        let Some(bytes) = wire::failed(&over.bytes, token, until).filter(|_| !left.is_zero())
        else {
            self.release(key, token).await;
            return Ok(false);
        };
        let when = When::Matches(stamp);
        let outcome = self.set(key, bytes, left, when, &mut self.budget()).await?;
        Ok(outcome == SetOutcome::Stored || !self.config.guards.stands(Guard::Confirmation))
    }

    /// Whether what lies under the key is still the write, or the lease, that `token` names.
    pub(crate) async fn still_holds(&self, key: &Key, token: u128) -> Result<bool, Error> {
        if !self.config.guards.stands(Guard::Confirmation) {
            return Ok(true);
        }
        let bytes = self.get(key, &mut self.budget()).await?;
        Ok(bytes.is_some_and(|bytes| wire::is_named(&bytes, token)))
    }

    /// Lets go of a stale value in whose place there is nothing now, together with the lease in it.
    pub(crate) async fn drop_stale(self: &Arc<Self>, key: &Key, lease: &Lease, token: u128) {
        let Some(stamp) = lease.stamp.as_ref().filter(|_| lease.over.is_some()) else {
            return self.release(key, token).await;
        };
        let bytes = self.lease_bytes(token);
        let when = When::Matches(stamp);
        let budget = &mut self.budget();
        if self.set(key, bytes, RELEASED, when, budget).await.is_err() {
            self.abandon(key).await;
        }
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
                .run(&mut self.budget(), || self.backend.remove(&full))
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

    async fn rewrite(&self, key: &Key, token: u128, ttl: Duration) -> Result<SetOutcome, Error> {
        if !self.compares() {
            return Ok(SetOutcome::Stored);
        }
        let bytes = self.lease_bytes(token);
        let stamp = stamp_of(&bytes);
        self.set(key, bytes, ttl, When::Matches(&stamp), &mut self.budget())
            .await
    }
}
