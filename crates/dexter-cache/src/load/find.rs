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
    let joined = if call.mode == Mode::Refresh {
        Joined::Lead(inner.flights.supersede(&call.key, TypeId::of::<V>()))
    } else {
        inner.flights.join(&call.key, TypeId::of::<V>())
    };
    let turn = match joined {
        Joined::Lead(turn) => turn,
        Joined::Follow(ticket) => match follow(call, ticket).await {
            Ok(turn) => turn,
            Err(found) => return found,
        },
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

/// Waits for another caller's flight. `Ok` is a turn of this caller's own.
async fn follow<V: Clone + Send + Sync + 'static>(
    call: &Call,
    ticket: Ticket,
) -> Result<Turn, Found<V>> {
    let inner = &call.cache.0;
    let flight = ticket.flight_id();
    if is_loading(|chain| chain.flight == flight) {
        // The load has reached its own key: waiting for itself would never end.
        call.missed();
        return Err(Found::Alone);
    }
    let landed = match timeout(inner.config.follow_timeout, ticket.wait()).await {
        Ok(Waited::Turn(turn)) => return Ok(turn),
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
        drop(turn.land(Landed::Value {
            value: Arc::new(value.clone()),
            fresh_until,
            loaded: false,
        }));
    }
}
