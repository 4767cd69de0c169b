//! What there is to do for a call: take what is there, wait for another caller, or load.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::lead::{Lead, is_loading};
use crate::call::Call;
use crate::clock::{self, Nanos};
use crate::flight::{Joined, Landed, Shared, Ticket, Turn, Waited};
use crate::global::Mode;
use crate::policy::Policy;
use crate::shape::Codec;
use crate::stats::Event;
use crate::tier::Acquired;

/// How often a caller joins a flight that turns out to have begun before an invalidation that came before the caller.
const REJOINS: usize = 8;

/// What there is to do for a call.
pub(super) enum Found<V> {
    Value(V),
    /// Another caller's outcome that is not stored: an error, or `None`.
    Other(Shared),
    /// This caller loads, for all who follow.
    Lead(Box<Lead<V>>),
    /// This caller loads for itself, and nothing is stored.
    Alone,
}

pub(super) async fn find<V>(call: &Arc<Call>, codec: Codec<V>, policy: Policy) -> Found<V>
where
    V: Clone + Send + Sync + 'static,
{
    let inner = &call.cache.0;
    if call.mode == Mode::Refresh && is_loading(|chain| chain.key == call.key) {
        // A refresh that reaches its own key: it is being loaded anew already.
        return Found::Alone;
    }
    let turn = match turn(call, &policy).await {
        Ok(turn) => turn,
        Err(found) => return found,
    };
    // Between the first look and the flight another one may have landed.
    if call.mode != Mode::Refresh
        && let Some((value, fresh_until)) = inner.in_memory::<V>(&call.key, call.traits.local)
    {
        share_found(turn, &value, fresh_until);
        call.hit(inner.left(fresh_until));
        return Found::Value(value);
    }
    let mut lead = Box::new(Lead::new(call, turn, policy, codec));
    if let Some(tier) = lead.tier() {
        tier.guard();
        // What lies in the backend while a fence stands may be just what is being removed.
        if !lead.turn().ticket().is_fenced() {
            match lead.acquire(&tier).await {
                Acquired::Value(value, left) => {
                    if let Some(turn) = lead.turn.take() {
                        share_found(turn, &value, clock::after(inner.clock.now(), left));
                    }
                    call.hit(left);
                    return Found::Value(value);
                }
                // Fenced meanwhile: what is loaded is not stored, and others need not wait for it.
                Acquired::Lease(_) if lead.turn().ticket().is_fenced() => {
                    lead.release(lead.turn().ticket());
                }
                Acquired::Lease(lease) => lead.lease = Some(lease),
                Acquired::Alone => {}
            }
        }
    }
    call.missed();
    Found::Lead(lead)
}

/// A turn to load, or what another caller's load came to.
async fn turn<V: Clone + Send + Sync + 'static>(
    call: &Call,
    policy: &Policy,
) -> Result<Turn, Found<V>> {
    let flights = &call.cache.0.flights;
    let of = TypeId::of::<V>();
    if call.mode == Mode::Refresh {
        return Ok(flights.supersede(&call.key, of, &policy.tags));
    }
    for _ in 0..REJOINS {
        match flights.join(&call.key, of, &policy.tags) {
            Joined::Lead(turn) => return Ok(turn),
            Joined::Follow(ticket) => {
                if let Some(turn) = follow(call, ticket).await? {
                    return Ok(turn);
                }
            }
        }
    }
    call.missed();
    Err(Found::Alone)
}

/// Waits for another caller's flight. `Ok` is a turn of this caller's own, or nothing where what the flight brought may
/// have been invalidated before this caller came.
async fn follow<V: Clone + Send + Sync + 'static>(
    call: &Call,
    ticket: Ticket,
) -> Result<Option<Turn>, Found<V>> {
    let inner = &call.cache.0;
    let flight = ticket.flight_id();
    if is_loading(|chain| chain.flight == flight) {
        // The load has reached its own key: waiting for itself would never end.
        call.missed();
        return Err(Found::Alone);
    }
    let landed = match timeout(inner.config.follow_timeout, ticket.wait()).await {
        Ok(Waited::Turn(turn)) => return Ok(Some(turn)),
        Ok(Waited::Outdated) => return Ok(None),
        Ok(Waited::Landed(landed)) => landed,
        Err(_) => {
            call.count(Event::FollowTimeout);
            call.missed();
            return Err(Found::Alone);
        }
    };
    match landed {
        Landed::Value {
            value,
            fresh_until,
            loaded,
        } => {
            let left = inner.left(fresh_until);
            if loaded {
                call.missed();
                call.count(Event::Coalesced);
                call.answered(left);
            } else {
                call.hit(left);
            }
            let value = value
                .downcast_ref::<V>()
                .expect("a flight is joined by its type")
                .clone();
            Err(Found::Value(value))
        }
        Landed::Other(other) => {
            call.missed();
            call.count(Event::Coalesced);
            call.answered(Duration::ZERO);
            Err(Found::Other(other))
        }
    }
}

/// Gives the followers, if there are any, a value that was found and not loaded.
fn share_found<V: Clone + Send + Sync + 'static>(turn: Turn, value: &V, fresh_until: Nanos) {
    if let Some(turn) = turn.retire() {
        // Its tags need not be those of this call.
        turn.ticket().label();
        drop(turn.land(Landed::Value {
            value: Arc::new(value.clone()),
            fresh_until,
            loaded: false,
        }));
    }
}
