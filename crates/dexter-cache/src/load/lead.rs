//! The caller that loads.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::context::{Chain, Wishes, with_context};
use super::fill::{Fill, Stored, held, keep, keep_in_fallback};
use super::find::Intent;
use super::spare::{Place, Spare, leave};
use crate::call::Call;
use crate::clock;
use crate::flight::{Landed, Shared, Source, Ticket, Turn};
use crate::policy::{Life, Policy};
use crate::shape::{Codec, Nothing};
use crate::stats::Event;
use crate::tag::{Marks, TagId, TagSet};
use crate::telemetry::TARGET;
use crate::tier::{Acquired, Asked, Labels, Lease, Look, Sight, Tier};
use crate::ttl::Ttl;
use crate::wire::{self, Entry, TagToken};

/// The caller that loads, for itself and for all who follow.
///
/// Dropped before it has landed or failed (the caller was cancelled, or the load panicked), it passes the turn on.
pub(super) struct Lead<V> {
    pub(super) call: Arc<Call>,
    /// `None` once the flight has ended.
    pub(super) turn: Option<Turn>,
    /// Few loads have what is boxed, and all are moved.
    pub(super) lease: Option<Box<Lease>>,
    /// What is there already.
    pub(super) spare: Option<Box<Spare>>,
    /// This load, once it runs.
    chain: Option<Arc<Chain>>,
    pub(super) intent: Intent,
    outer: Option<Arc<Chain>>,
    policy: Policy,
    codec: Codec<V>,
}

impl<V> Lead<V>
where
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(
        call: &Arc<Call>,
        turn: Turn,
        intent: Intent,
        policy: Policy,
        codec: Codec<V>,
    ) -> Self {
        Self {
            call: Arc::clone(call),
            turn: Some(turn),
            lease: None,
            spare: None,
            chain: None,
            intent,
            outer: Chain::current(),
            policy,
            codec,
        }
    }

    /// The backend, where this value goes to one.
    pub(super) fn tier(&self) -> Option<Arc<Tier>> {
        let portable = !self.call.traits.local && self.codec.encode.is_some();
        self.call
            .cache
            .0
            .tier
            .as_ref()
            .filter(|_| portable)
            .cloned()
    }

    /// Remembers what is there: the load can see it, and may be answered for by it.
    pub(super) fn found(&mut self, spare: Spare) {
        leave(self.turn().ticket(), &spare);
        self.spare = Some(Box::new(spare));
    }

    /// The same of what the lease was written into.
    pub(super) fn found_in_backend(&mut self, seen: Option<Sight<Option<V>>>) {
        let now = self.call.cache.0.clock.now();
        let of = (self.turn().ticket(), &self.policy.tags);
        if let Some(spare) = seen.and_then(|seen| Spare::in_backend(seen, now, of)) {
            self.found(spare);
        }
    }

    pub(super) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// What is there, if it is past its time and can answer for a load that takes too long.
    pub(super) fn stale_spare(&self) -> Option<Box<Spare>> {
        let now = self.call.cache.0.clock.now();
        self.spare
            .clone()
            .filter(|spare| self.intent == Intent::Read && !spare.is_fresh(now))
    }

    pub(super) async fn acquire(
        &self,
        tier: &Tier,
        (patience, stale_patience): (Duration, Duration),
    ) -> Acquired<Option<V>> {
        let call = Arc::clone(&self.call);
        let (decode, nothing) = (self.codec.decode, call.traits.nothing);
        let ticket = self.turn().ticket();
        let look = Look {
            asked: Asked::default(),
            keep: &|value: &Option<V>, entry: &Entry<'_>, asked| {
                let shared = || shared(value.as_ref(), self.codec);
                let ahead = self.policy.refresh_ahead;
                tier.keep(&call.key, shared, entry, ahead, asked, Some(ticket));
            },
            key: &call.key,
            fingerprint: wire::fingerprint::<V>(call.traits.version),
            tags: self.policy.tags.as_slice(),
            decode: &move |entry| {
                if entry.nothing {
                    return nothing.then_some(None);
                }
                decode
                    .and_then(|decode| decode(entry.payload).ok())
                    .map(Some)
            },
            token: ticket.token(),
            leased: ticket.leased(),
            claim: ticket.claim(),
            intent: self.intent,
            ahead: self.policy.refresh_ahead,
            patience,
            stale_patience,
            waits: &|waits| self.call.waits(waits),
            unusable: &|| self.call.count(Event::Unusable),
        };
        tier.acquire(&look, &mut self.call.budget(tier)).await
    }

    /// Runs the load, renewing the lease while it runs.
    pub(super) async fn drive<R>(&mut self, load: impl Future<Output = R>) -> R {
        let flight = self.turn().ticket().flight_id();
        let present = self.spare.as_deref().map(Spare::present);
        let chain = Chain::new(flight, self.call.key.clone(), self.outer.clone(), present);
        self.chain = Some(Arc::clone(&chain));
        let this = &*self;
        let _permit = this.permit().await;
        // Of the load alone, not of the wait for its turn.
        #[cfg(feature = "metrics")]
        let _stopwatch = crate::meters::Stopwatch::start(&this.call);
        this.call.count(Event::Load);
        let mut load = pin!(with_context(chain, load));
        let Some((tier, lease)) = this.tier().zip(this.lease.as_deref()) else {
            return load.await;
        };
        let period = tier.config.lease_ttl / 3;
        let mut tick = pin!(tokio::time::sleep(period));
        let mut renewal = None;
        poll_fn(|cx| {
            if let Poll::Ready(result) = load.as_mut().poll(cx) {
                // A renewal that has not begun must not come after the lease has been given back.
                if let Some(renewal) = renewal.take() {
                    tokio::task::JoinHandle::abort(&renewal);
                }
                return Poll::Ready(result);
            }
            while tick.as_mut().poll(cx).is_ready() {
                let (tier, key) = (Arc::clone(&tier), this.call.key.clone());
                let (token, over) = (this.turn().ticket().token(), lease.over.clone());
                let renew = async move { tier.renew(&key, token, over.as_deref()).await };
                renewal = this.call.cache.0.background.spawn(renew).ok();
                tick.as_mut().reset(tokio::time::Instant::now() + period);
            }
            Poll::Pending
        })
        .await
    }

    /// One load within another waits for no permit: it would wait for itself. A batch takes one for all its keys.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        if self.call.traits.local || self.outer.is_some() || self.call.part.is_some() {
            return None;
        }
        self.call.cache.0.permit_while_away().await
    }

    /// Ends the flight with a value, or with a `None` that is remembered: stores it in memory, or returns what has to be
    /// stored in the backend. The answer lives for the time that is returned.
    pub(super) fn land(self: Box<Self>, value: Option<&V>) -> (Duration, Option<Fill>) {
        let ttl = self.policy.ttl;
        self.land_for(ttl, value)
    }

    /// Ends the flight with a `None`, which `shared` hands to the followers where it is not remembered.
    pub(super) fn land_nothing(
        mut self: Box<Self>,
        shared: Option<Shared>,
    ) -> (Duration, Option<Fill>) {
        if let Some(ttl) = self.policy.none_ttl {
            return self.land_for(ttl, None);
        }
        let now = self.call.cache.0.clock.now();
        if let Some(turn) = self.turn.take() {
            self.put_off_refresh(turn.ticket());
            self.turn = Some(turn);
        }
        let stale = self.spare.take().filter(|spare| !spare.is_fresh(now));
        if let Some(spare) = stale {
            self.drop_stale(&spare);
        }
        self.end(shared);
        (Duration::ZERO, None)
    }

    fn land_for(mut self: Box<Self>, ttl: Ttl, value: Option<&V>) -> (Duration, Option<Fill>) {
        let turn = self.turn.take().expect("a flight ends once");
        let call = Arc::clone(&self.call);
        let inner = &call.cache.0;
        let wishes = self
            .chain
            .take()
            .map_or_else(Wishes::default, |chain| chain.take_wishes());
        let known = self.policy.tags.as_slice();
        let labels = wishes.tags.as_slice().iter();
        let mut more: Vec<TagId> = labels.filter(|tag| !known.contains(tag)).copied().collect();
        let mut marks = Marks::default();
        if let Some(kept) = self.spare.as_ref().filter(|_| wishes.not_modified) {
            // It is the same value: what its own load has put on it stays.
            let kept_tags = kept.more_tags(&self.policy.tags);
            more.extend(
                kept_tags
                    .iter()
                    .filter(|tag| !wishes.tags.as_slice().contains(tag)),
            );
            if let Place::Memory = kept.place {
                marks = kept.marks();
            }
        }
        if !more.is_empty() || !marks.is_empty() {
            turn.ticket().label();
        }
        let mut life = Life::NONE;
        if !wishes.do_not_store {
            life = self
                .policy
                .life(wishes.ttl.unwrap_or(ttl), inner.config.jitter);
        }
        if life.fresh.is_zero() {
            self.put_off_refresh(turn.ticket());
        }
        if value.is_none() {
            // A `None` is no value to fall back on.
            life = life.within(life.fresh);
        }
        let stored = Stored {
            value: shared(value, self.codec),
            life,
            etag: wishes.etag,
            marks,
        };
        let now = inner.clock.now();
        let landed = Landed::Value {
            value: Arc::clone(&stored.value),
            fresh_until: clock::after(now, life.fresh),
            source: Source::Loaded,
        };
        let Some(tier) = self.tier() else {
            let kept = !life.fresh.is_zero() && {
                let held = held(stored, now);
                let ticket = turn.ticket();
                keep(&self.call, ticket, &inner.memory, held, &more, || true)
            };
            drop(turn.land(landed));
            return (if kept { life.fresh } else { Duration::ZERO }, None);
        };
        let lease = self.lease.take().filter(|_| !life.fresh.is_zero());
        let envelope = lease.and_then(|lease| {
            let bytes = self.encode(value, &tier, &stored, lease.labels(), &more)?;
            Some((lease, bytes))
        });
        let Some((lease, bytes)) = envelope else {
            let left = keep_in_fallback(&self.call, turn.ticket(), &tier, stored, &more);
            self.release(turn.ticket());
            drop(turn.land(landed));
            return (left, None);
        };
        let fill = Fill {
            call: Arc::clone(&self.call),
            arrival: turn.land(landed),
            cut_off: tier.answer_for(&self.call.key),
            tier,
            lease,
            bytes,
            stored,
            more,
        };
        (life.fresh, Some(fill))
    }

    /// Ends the flight without a value: with an outcome that followers share, or by letting them load.
    pub(super) fn end(mut self: Box<Self>, outcome: Option<Shared>) {
        let turn = self.turn.take().expect("a flight ends once");
        if let Some(outcome) = outcome {
            self.release(turn.ticket());
            drop(turn.land(Landed::Other(outcome)));
        } else {
            // The next one of this flight goes on under the same lease; the last one to leave gives it back.
            turn.fail();
        }
    }

    /// The envelope, unless the value cannot be encoded or is too large. The tokens of `more` tags are still to be
    /// written into it.
    fn encode(
        &self,
        value: Option<&V>,
        tier: &Tier,
        stored: &Stored,
        labels: &Labels,
        more: &[TagId],
    ) -> Option<Vec<u8>> {
        let encode = self.codec.encode?;
        let life = stored.life;
        let mut about = tier.about(wire::fingerprint::<V>(self.call.traits.version), life.fresh);
        let stale = u64::try_from(life.stale.as_millis()).unwrap_or(u64::MAX);
        about.times.kept_until = about.times.fresh_until.saturating_add(stale);
        about.epoch = labels.epoch;
        about.tags.clone_from(&labels.tags);
        about.tags.extend(more.iter().map(|tag| TagToken {
            tag: tag.0,
            token: 0,
        }));
        if about.tags.len() > wire::MAX_TAGS {
            self.call.count(Event::TooLarge);
            return None;
        }
        let Some(value) = value else {
            return Some(wire::nothing(fastrand::u128(..), &about));
        };
        let etag = stored.etag.as_deref();
        let encoded = wire::value(fastrand::u128(..), &about, etag, |out| encode(value, out));
        // The text of the error is the user's own, and may hold the value.
        let Ok(bytes) = encoded else {
            self.call.count(Event::NotEncoded);
            tracing::warn!(
                target: TARGET,
                prefix = self.call.key.prefix(),
                r#type = std::any::type_name::<V>(),
                "a value cannot be written as JSON and was not stored"
            );
            return None;
        };
        if bytes.len() > tier.config.max_value {
            self.call.count(Event::TooLarge);
            self.call
                .cache
                .0
                .warn_too_large(self.call.key.prefix(), bytes.len());
            return None;
        }
        Some(bytes)
    }
}

/// What is handed to followers and kept in memory.
pub(super) fn shared<V>(value: Option<&V>, codec: Codec<V>) -> Shared {
    match value {
        Some(value) => (codec.keep)(value),
        None => Arc::new(Nothing),
    }
}

impl<V> Lead<V> {
    pub(super) fn turn(&self) -> &Turn {
        self.turn
            .as_ref()
            .expect("it is taken only where the lead ends")
    }

    /// The tags that are known without loading.
    pub(super) fn known_tags(&self) -> &TagSet {
        &self.policy.tags
    }

    pub(super) fn throttle(&self) -> Duration {
        self.policy
            .throttle
            .unwrap_or(self.call.cache.0.config.throttle)
    }

    /// Gives the lease of this flight back, if it may have taken one.
    pub(super) fn release(&self, ticket: &Ticket) {
        if !ticket.leased().swap(false, Ordering::Relaxed) {
            return;
        }
        let Some(tier) = self.call.cache.0.tier.clone() else {
            return;
        };
        let release = tier.release(&self.call.key, ticket.token());
        drop(self.call.cache.0.background.spawn(release));
    }
}

impl<V> Drop for Lead<V> {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take().filter(|_| std::thread::panicking()) else {
            return;
        };
        self.call.count(Event::LoadFailed);
        // Nobody saw the panic of a refresh ahead: without a pause every hit would begin the next one.
        if self.intent == Intent::Ahead {
            let pause = self.throttle();
            drop(self.put_off_in_memory(turn.ticket(), pause));
            if let Some(Place::Backend { token, .. }) = self.spare.as_ref().map(|spare| spare.place)
            {
                self.put_off_behind(turn.ticket(), token, pause);
            }
        }
    }
}
