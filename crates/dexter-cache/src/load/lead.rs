//! The caller that loads.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::fill::{Fill, keep, keep_in_fallback};
use crate::backend::memory::Held;
use crate::call::Call;
use crate::clock;
use crate::flight::{Landed, Shared, Ticket, Turn};
use crate::global::Mode;
use crate::key::Key;
use crate::policy::Policy;
use crate::shape::Codec;
use crate::stats::Event;
use crate::tag::{TagId, TagSet};
use crate::telemetry::TARGET;
use crate::tier::{Acquired, Asked, Labels, Lease, Look, Tier};
use crate::wire::{self, TagToken};

tokio::task_local! {
    /// The flights whose loads this task is running, innermost first.
    static LOADING: Arc<Chain>;
}

pub(super) struct Chain {
    pub(super) flight: usize,
    pub(super) key: Key,
    outer: Option<Arc<Chain>>,
    /// Tags that the load puts on what it brings.
    tags: Arc<Mutex<TagSet>>,
}

/// The caller that loads, for itself and for all who follow.
///
/// Dropped before it has landed or failed (the caller was cancelled, or the load panicked), it passes the turn on.
pub(super) struct Lead<V> {
    call: Arc<Call>,
    /// `None` once the flight has ended.
    pub(super) turn: Option<Turn>,
    pub(super) lease: Option<Lease>,
    outer: Option<Arc<Chain>>,
    policy: Policy,
    codec: Codec<V>,
    /// Those that the load has put on its value.
    tags: Arc<Mutex<TagSet>>,
}

impl<V> Lead<V>
where
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(call: &Arc<Call>, turn: Turn, policy: Policy, codec: Codec<V>) -> Self {
        let outer = LOADING.try_with(Arc::clone).ok();
        Self {
            call: Arc::clone(call),
            turn: Some(turn),
            lease: None,
            outer,
            policy,
            codec,
            tags: Arc::default(),
        }
    }

    /// The tags that became known by the load.
    fn more_tags(&self) -> Vec<TagId> {
        let own = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.policy.tags.as_slice();
        let more = own.as_slice().iter().filter(|tag| !known.contains(tag));
        more.copied().collect()
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

    pub(super) fn turn(&self) -> &Turn {
        self.turn
            .as_ref()
            .expect("it is taken only where the lead ends")
    }

    pub(super) async fn acquire(&self, tier: &Tier) -> Acquired<V> {
        let call = Arc::clone(&self.call);
        let decode = self.codec.decode;
        let look = Look {
            asked: Asked::default(),
            keep: &|value: &V, about, asked| {
                let shared = || -> Shared { Arc::new(value.clone()) };
                tier.keep(&call.key, shared, about, asked, Some(self.turn().ticket()));
            },
            key: &call.key,
            fingerprint: wire::fingerprint::<V>(call.traits.version),
            tags: self.policy.tags.as_slice(),
            decode: &move |bytes| decode.and_then(|decode| decode(bytes).ok()),
            token: self.turn().ticket().token(),
            leased: self.turn().ticket().leased(),
            claim: self.turn().ticket().claim(),
            refresh: call.mode == Mode::Refresh,
            // Half of it: those who follow this flight must not all give up when it does.
            patience: call.cache.0.config.follow_timeout / 2,
            unusable: &|| call.count(Event::Unusable),
        };
        tier.acquire(&look, &mut tier.budget()).await
    }

    /// Runs the load, renewing the lease while it runs.
    pub(super) async fn drive<R>(&self, load: impl Future<Output = R>) -> R {
        #[cfg(feature = "metrics")]
        let _stopwatch = crate::meters::Stopwatch::start(&self.call);
        self.call.count(Event::Load);
        let flight = self.turn().ticket().flight_id();
        let chain = Arc::new(Chain {
            flight,
            key: self.call.key.clone(),
            outer: self.outer.clone(),
            tags: Arc::clone(&self.tags),
        });
        let mut load = pin!(LOADING.scope(chain, load));
        let Some(tier) = self.tier().filter(|_| self.lease.is_some()) else {
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
                let (tier, key) = (Arc::clone(&tier), self.call.key.clone());
                let token = self.turn().ticket().token();
                let renew = async move { tier.renew(&key, token).await };
                renewal = self.call.cache.0.background.spawn(renew).ok();
                tick.as_mut().reset(tokio::time::Instant::now() + period);
            }
            Poll::Pending
        })
        .await
    }

    /// Ends the flight with a value: stores it in memory, or returns what has to be stored in the backend.
    pub(super) fn land(mut self: Box<Self>, value: &V) -> Option<Fill> {
        let turn = self.turn.take().expect("a flight ends once");
        let more = self.more_tags();
        if !more.is_empty() {
            turn.ticket().label();
        }
        let life = self.policy.ttl.drawn(self.call.cache.0.config.jitter);
        let inner = &self.call.cache.0;
        let fresh_until = clock::after(inner.clock.now(), life);
        let shared: Shared = Arc::new(value.clone());
        let landed = Landed::Value {
            value: Arc::clone(&shared),
            fresh_until,
            loaded: true,
        };
        let Some(tier) = self.tier() else {
            let stored = !life.is_zero() && {
                let held = Held::new(shared, fresh_until);
                keep(
                    &self.call,
                    turn.ticket(),
                    &inner.memory,
                    held,
                    &more,
                    || true,
                )
            };
            self.call
                .answered(if stored { life } else { Duration::ZERO });
            drop(turn.land(landed));
            return None;
        };
        let lease = self.lease.take().filter(|_| !life.is_zero());
        let envelope = lease.and_then(|lease| {
            let bytes = self.encode(value, &tier, life, lease.labels(), &more)?;
            Some((lease, bytes))
        });
        let Some((lease, bytes)) = envelope else {
            let life = keep_in_fallback(&self.call, turn.ticket(), &tier, shared, life, &more);
            self.call.answered(life);
            self.release(turn.ticket());
            drop(turn.land(landed));
            return None;
        };
        self.call.answered(life);
        Some(Fill {
            call: Arc::clone(&self.call),
            arrival: turn.land(landed),
            cut_off: tier.answer_for(&self.call.key),
            tier,
            lease,
            bytes,
            life,
            shared,
            more,
        })
    }

    /// Ends the flight without a value: with an outcome that followers share, or by letting them load.
    pub(super) fn fail(mut self: Box<Self>, outcome: Option<Shared>) {
        self.call.count(Event::LoadFailed);
        self.call.answered(Duration::ZERO);
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
        value: &V,
        tier: &Tier,
        life: Duration,
        labels: &Labels,
        more: &[TagId],
    ) -> Option<Vec<u8>> {
        let encode = self.codec.encode?;
        let mut about = tier.about(wire::fingerprint::<V>(self.call.traits.version), life);
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
        let encoded = wire::value(fastrand::u128(..), &about, |out| encode(value, out));
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

impl<V> Lead<V> {
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
        if self.turn.is_some() && std::thread::panicking() {
            self.call.count(Event::LoadFailed);
        }
    }
}

/// Puts a tag on what the load that this task is running brings; `false` where there is none.
pub fn tag(text: &str) -> bool {
    let put = |chain: &Arc<Chain>| {
        let mut tags = chain.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.add(TagId::of(text));
    };
    LOADING.try_with(put).is_ok()
}

/// Whether a load that this task is running is one of these.
pub(super) fn is_loading(which: impl Fn(&Chain) -> bool) -> bool {
    LOADING
        .try_with(|chain| {
            std::iter::successors(Some(chain), |chain| chain.outer.as_ref())
                .any(|chain| which(chain))
        })
        .unwrap_or(false)
}
