//! Falling back: what answers for a load that failed, and when the next one is tried.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fill::{Stored, keep_in_fallback};
use super::find::Intent;
use super::lead::Lead;
use super::spare::{Place, Spare, outlasts_outage};
use crate::call::Answer;
use crate::clock;
use crate::flight::{Landed, Shared, Source, Ticket, Turn};
use crate::key::Key;
use crate::policy::Life;
use crate::stats::Event;

/// What a load that failed leaves to do.
pub(super) enum Failed<V> {
    /// Nothing: the error is the answer.
    Ended(Answer),
    /// The value that answers in its place.
    Stale(V),
    /// To [fall back](Lead::fall_back) on a value in the backend.
    Ask(Box<Lead<V>>),
}

impl<V> Lead<V>
where
    V: Clone + Send + Sync + 'static,
{
    /// Ends the flight of a load that failed, unless the backend has to be asked whether a stale value may answer.
    pub(super) fn fail(mut self: Box<Self>, shared: Option<Shared>) -> Failed<V> {
        self.call.count(Event::LoadFailed);
        let inner = &self.call.cache.0;
        let spare = self
            .spare
            .as_ref()
            .filter(|spare| self.intent != Intent::Refresh && spare.is_kept(inner.clock.now()));
        match spare.map(|spare| spare.place) {
            Some(Place::Backend { .. }) if !self.turn().ticket().is_fenced() => {
                return Failed::Ask(self);
            }
            Some(Place::Memory) => {
                let spare = self.put_off_in_memory(self.turn().ticket(), self.throttle());
                if let Some((spare, value)) = spare.and_then(|spare| {
                    let value = spare.value::<V>()?;
                    Some((spare, value))
                }) {
                    let turn = self.turn.take().expect("a flight ends once");
                    self.release(turn.ticket());
                    let landed = self.fallen_back(&turn, &spare);
                    drop(turn.land(landed));
                    return Failed::Stale(value);
                }
            }
            _ => {}
        }
        self.end(shared);
        Failed::Ended(Answer::Loaded(Duration::ZERO))
    }

    /// Falls back on the value in the backend, if it is still there, and puts the next load off for every process.
    pub(super) async fn fall_back(mut self: Box<Self>, shared: Option<Shared>) -> Option<V> {
        let inner = &self.call.cache.0;
        let (Some(tier), Some(spare)) = (self.tier(), self.spare.take()) else {
            self.end(shared);
            return None;
        };
        let Place::Backend { token, read_at } = spare.place else {
            unreachable!("what is in memory is fallen back on at once");
        };
        let (key, throttle) = (&self.call.key, self.throttle());
        let put_off = match &self.lease {
            Some(lease) => tier.put_off(key, lease, token, throttle).await,
            None => tier.still_holds(key, token).await,
        };
        let there = match put_off {
            Ok(there) => there && spare.still_counts(&tier).await,
            Err(_) => spare.still_counts_here() && outlasts_outage(&self.call, read_at),
        };
        let ticket = self.turn().ticket();
        if !there || ticket.is_fenced() {
            self.end(shared);
            return None;
        }
        // Whether the mark was written or not, a lease over a value ends by itself.
        ticket.leased().store(false, Ordering::Relaxed);
        if self.intent == Intent::Ahead {
            // The copy in L1: others are told by the mark.
            drop(self.put_off_in_memory(self.turn().ticket(), self.throttle()));
        }
        if !tier.is_trusted() && spare.still_counts_here() {
            let life = Life {
                fresh: Duration::ZERO,
                stale: Duration::from_nanos(
                    clock::after(read_at, tier.config.fallback_ttl)
                        .min(spare.kept_until())
                        .saturating_sub(inner.clock.now()),
                ),
                ahead: None,
            };
            let stored = Stored {
                value: Arc::clone(&spare.value),
                life,
                etag: None,
                marks: spare.marks(),
            };
            keep_in_fallback(&self.call, ticket, &tier, stored, &[]);
            drop(self.put_off_in_memory(self.turn().ticket(), self.throttle()));
        }
        let turn = self.turn.take().expect("a flight ends once");
        let landed = self.fallen_back(&turn, &spare);
        drop(turn.land(landed));
        spare.value()
    }

    /// As [`fall_back`](Self::fall_back), for an error that cannot wait for the answer of the backend: a removal by another
    /// process while the load ran is not seen.
    pub(super) fn fall_back_unasked(mut self: Box<Self>) -> Option<V> {
        let spare = self
            .spare
            .take()
            .filter(|spare| !self.turn().ticket().is_fenced() && spare.still_counts_here());
        let Some(spare) = spare else {
            self.end(None);
            return None;
        };
        let Place::Backend { token, .. } = spare.place else {
            unreachable!("what is in memory is fallen back on at once");
        };
        let turn = self.turn.take().expect("a flight ends once");
        self.put_off_behind(turn.ticket(), token, self.throttle());
        let landed = self.fallen_back(&turn, &spare);
        drop(turn.land(landed));
        spare.value()
    }

    /// A load has said that there is nothing now.
    pub(super) fn drop_stale(&mut self, spare: &Spare) {
        let inner = &self.call.cache.0;
        let lease = self.lease.take();
        let turn = self.turn.as_ref().expect("the flight has not ended");
        let ticket = turn.ticket();
        if let Place::Memory = spare.place {
            let dropped = ticket.store(|key| {
                let memory = inner.memory_behind(self.call.traits.local)?;
                memory.take(key)
            });
            // Not under the lock: to drop a value is code of the user.
            drop(dropped);
        }
        if let (Some(tier), Some(lease)) = (self.tier(), lease)
            && ticket.leased().swap(false, Ordering::Relaxed)
        {
            let (key, token) = (self.call.key.clone(), ticket.token());
            let drop_stale = async move { tier.drop_stale(&key, &lease, token).await };
            drop(inner.background.spawn(drop_stale));
        }
    }

    /// What followers of a load that failed get.
    fn fallen_back(&self, turn: &Turn, spare: &Spare) -> Landed {
        if !spare.more_tags(self.known_tags()).is_empty() {
            // One of them may be invalidated before a follower takes the value.
            turn.ticket().label();
        }
        let fresh = spare.is_fresh(self.call.cache.0.clock.now());
        Landed::Value {
            value: Arc::clone(&spare.value),
            fresh_until: spare.fresh_until(),
            source: if fresh { Source::Found } else { Source::Stale },
        }
    }
}

impl<V> Lead<V> {
    /// The stale value in memory, if it is still there, and the next load put off: in one step with what fences do.
    pub(super) fn put_off_in_memory(&self, ticket: &Ticket, pause: Duration) -> Option<Spare> {
        let inner = &self.call.cache.0;
        let until = clock::after(inner.clock.now(), pause);
        let put_off = |key: &Key| {
            let held = inner.kept_in_memory(key, self.call.traits.local)?;
            if let Some(extra) = &held.extra {
                extra.put_off(until);
            }
            Some(Spare::in_memory(&held, inner.clock.coarse()))
        };
        ticket.store(put_off).flatten()
    }

    /// A refresh ahead has brought nothing to store: the value stays, and without a pause every hit would begin the next
    /// one. Once it is past its time, loads are tried as ever.
    pub(super) fn put_off_refresh(&mut self, ticket: &Ticket) {
        let now = self.call.cache.0.clock.now();
        let Some(spare) = self.spare.as_ref() else {
            return;
        };
        if self.intent != Intent::Ahead || !spare.is_fresh(now) {
            return;
        }
        let left = Duration::from_nanos(spare.fresh_until().saturating_sub(now));
        let (place, pause) = (spare.place, self.throttle().min(left));
        drop(self.put_off_in_memory(ticket, pause));
        if let Place::Backend { token, .. } = place {
            self.put_off_behind(ticket, token, pause);
        }
    }

    /// Puts the next load off in the backend, without waiting for it.
    pub(super) fn put_off_behind(&mut self, ticket: &Ticket, token: u128, pause: Duration) {
        let inner = &self.call.cache.0;
        // Whether the mark is written or not, a lease over a value ends by itself.
        ticket.leased().store(false, Ordering::Relaxed);
        if let Some((lease, tier)) = self.lease.take().zip(inner.tier.clone()) {
            let key = self.call.key.clone();
            let put_off = async move {
                let _ = tier.put_off(&key, &lease, token, pause).await;
            };
            drop(inner.background.spawn(put_off));
        }
    }
}
