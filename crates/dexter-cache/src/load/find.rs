//! What there is to do for a call: take what is there, wait for another caller, or load.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::context::is_loading;
use super::lead::Lead;
use super::spare::{Spare, spare_of, tags_of};
use super::wait::Limits;
use crate::backend::memory::Held;
use crate::call::{Answer, Call};
use crate::clock::{self, Nanos};
use crate::flight::{Joined, Landed, Shared, Source, Ticket, Turn, Waited};
use crate::global::Mode;
use crate::kept;
use crate::policy::Policy;
use crate::shape::{Codec, Nothing, Shape};
use crate::share::Share;
use crate::stats::Event;
use crate::tag::TagId;
pub(super) use crate::tier::Intent;
use crate::tier::{Acquired, Sight};

/// How often a caller joins a flight that turns out to have begun before an invalidation that came before the caller.
const REJOINS: usize = 8;

/// What there is to do for a call.
pub(super) enum Found<V> {
    /// A value, or a `None` that is remembered.
    Value(Option<V>),
    /// The same, and it is time to refresh it ahead.
    Due(Option<V>),
    /// Another caller's outcome that is not stored: an error, or `None`.
    Other(Shared),
    /// This caller loads, for all who follow.
    Lead(Box<Lead<V>>),
    /// This caller loads for itself, and nothing is stored.
    Alone,
    /// The hard timeout is over.
    Late,
}

impl<V> Found<V> {
    /// The answer; or what is left to do to have one, with the lead or alone.
    pub(super) fn answer<R, S, H>(self, shape: S, share: H) -> Result<R, Option<Box<Lead<V>>>>
    where
        S: Shape<R, Value = V>,
        H: Share<R>,
    {
        match self {
            Self::Value(Some(value)) | Self::Due(Some(value)) => Ok(shape.join(value)),
            // It is looked for only where the function can return it.
            Self::Value(None) | Self::Due(None) => shape.nothing().ok_or(None),
            Self::Other(other) => share.unshare(&*other).ok_or(None),
            Self::Lead(lead) => Err(Some(lead)),
            Self::Alone | Self::Late => Err(None),
        }
    }
}

pub(super) async fn find<V>(
    call: &Arc<Call>,
    codec: Codec<V>,
    policy: &Policy,
    limits: &Limits,
) -> Found<V>
where
    V: Clone + Send + Sync + 'static,
{
    let inner = &call.cache.0;
    let refresh = call.mode == Mode::Refresh;
    if refresh && is_loading(|chain| chain.key == call.key) {
        // A refresh that reaches its own key: it is being loaded anew already.
        return Found::Alone;
    }
    if is_invalidated_here(call, policy) {
        call.missed();
        return Found::Alone;
    }
    // Only what the first look passed over: it took what is fresh, and is a value.
    if !refresh
        && (call.traits.nothing || !policy.stale.is_zero())
        && let Some(held) = inner.kept_in_memory(&call.key, call.traits.local)
        && let Some((value, finding)) = answer_of::<V>(call, &held)
    {
        finding.give(call);
        return Found::Value(value);
    }
    let turn = match turn(call, policy, limits).await {
        Ok(turn) => turn,
        Err(found) => return found,
    };
    // Between the first look and the flight another one may have landed.
    let held = inner.kept_in_memory(&call.key, call.traits.local);
    if !refresh
        && let Some((value, finding)) = held.as_ref().and_then(|held| answer_of::<V>(call, held))
    {
        share_found(turn, value.as_ref(), finding);
        finding.give(call);
        return Found::Value(value);
    }
    let intent = if refresh {
        Intent::Refresh
    } else {
        Intent::Read
    };
    let mut lead = Box::new(Lead::new(call, turn, intent, policy.clone(), codec));
    if let Some(held) = held.filter(|held| kept::is::<V>(&held.value)) {
        lead.found(Spare::in_memory(&held, inner.clock.coarse()));
    }
    if let Some(tier) = lead.tier() {
        tier.guard();
        // What lies in the backend while a fence stands may be just what is being removed.
        if !lead.turn().ticket().is_fenced() {
            // Half of it: those who follow this flight must not all give up when it does.
            let patience = limits.patience(inner.config.follow_timeout / 2);
            // In a box of its own: it is large, and a call that memory answers for must not carry it about.
            match Box::pin(lead.acquire(&tier, patience)).await {
                Acquired::Value(seen) => {
                    let due = seen.due && call.mode == Mode::Normal;
                    let fresh_until = clock::after(inner.clock.coarse(), seen.left);
                    let value = take(call, lead, seen, Finding::Fresh(fresh_until));
                    return if due {
                        Found::Due(value)
                    } else {
                        Found::Value(value)
                    };
                }
                Acquired::Stale(seen) => {
                    return Found::Value(take(call, lead, seen, Finding::Stale));
                }
                // Fenced meanwhile: what is loaded is not stored, and others need not wait for it.
                Acquired::Lease(..) if lead.turn().ticket().is_fenced() => {
                    lead.release(lead.turn().ticket());
                }
                Acquired::Lease(lease, seen) => {
                    lead.lease = Some(Box::new(lease));
                    // What memory held is a copy of what was there.
                    lead.spare = None;
                    lead.found_in_backend(seen);
                }
                Acquired::Alone => {}
            }
        }
    }
    call.missed();
    Found::Lead(lead)
}

/// Whether this task's own transaction has invalidated one of the tags. What others load meanwhile is from before it, and
/// what this caller loads is not for others yet.
fn is_invalidated_here(call: &Call, policy: &Policy) -> bool {
    let tags = policy.tags.as_slice();
    let standing = |tag: &TagId| call.cache.0.flights.tags().is_standing(*tag);
    !tags.is_empty() && call.cache.is_deferring() && tags.iter().any(standing)
}

/// A turn to load, or what another caller's load came to.
async fn turn<V: Clone + Send + Sync + 'static>(
    call: &Call,
    policy: &Policy,
    limits: &Limits,
) -> Result<Turn, Found<V>> {
    let inner = &call.cache.0;
    let flights = &inner.flights;
    let of = TypeId::of::<V>();
    if call.mode == Mode::Refresh {
        // Who comes meanwhile goes on with what is there. If that is nothing, they wait for this load as for any; in a
        // backend it is the lease that they wait for.
        let local = call.traits.local;
        let exclusive = inner.memory_behind(local).is_none()
            || inner.kept_in_memory(&call.key, local).is_some();
        return Ok(flights.supersede(&call.key, of, &policy.tags, exclusive));
    }
    for _ in 0..REJOINS {
        match flights.join(&call.key, of, &policy.tags) {
            Joined::Lead(turn) => return Ok(turn),
            Joined::Follow(ticket) => {
                if let Some(turn) = Box::pin(follow(call, ticket, limits)).await? {
                    return Ok(turn);
                }
            }
        }
    }
    call.missed();
    Err(Found::Alone)
}

/// The lead of a refresh ahead; `None` if there is nothing to do, or somebody does it.
pub(super) async fn due<V>(
    call: &Arc<Call>,
    codec: Codec<V>,
    policy: Policy,
) -> Option<Box<Lead<V>>>
where
    V: Clone + Send + Sync + 'static,
{
    let inner = &call.cache.0;
    let type_id = TypeId::of::<V>();
    let turn = if inner.memory_behind(call.traits.local).is_some() {
        // Hits are answered before they come to a flight: who comes to this one has found nothing. L1 lets go of a value
        // while it is refreshed, so that hits come there, too.
        match inner.flights.join(&call.key, type_id, &policy.tags) {
            Joined::Lead(turn) => turn,
            Joined::Follow(_) => return None,
        }
    } else {
        inner.flights.beside(&call.key, type_id, &policy.tags)?
    };
    let mut lead = Box::new(Lead::new(call, turn, Intent::Ahead, policy, codec));
    if let Some(held) = inner.kept_in_memory(&call.key, call.traits.local) {
        // Another one may have landed meanwhile.
        let now = inner.clock.now();
        let due = held.extra.as_ref().is_some_and(|extra| extra.is_due(now));
        if !due || !kept::is::<V>(&held.value) {
            return None;
        }
        lead.found(Spare::in_memory(&held, now));
    }
    if let Some(tier) = lead.tier() {
        tier.guard();
        if lead.turn().ticket().is_fenced() {
            return None;
        }
        let patience = (Duration::ZERO, Duration::ZERO);
        match Box::pin(lead.acquire(&tier, patience)).await {
            Acquired::Lease(lease, seen) => {
                lead.lease = Some(Box::new(lease));
                lead.spare = None;
                lead.found_in_backend(seen);
            }
            Acquired::Value(seen) => {
                // Somebody else has renewed it.
                let fresh_until = clock::after(inner.clock.now(), seen.left);
                if let Some(turn) = lead.turn.take() {
                    label(&turn, &lead, &seen);
                    share_found(turn, seen.value.as_ref(), Finding::Fresh(fresh_until));
                }
                return None;
            }
            Acquired::Stale(_) | Acquired::Alone => return None,
        }
    }
    // It was removed, or a fence stands over it.
    (lead.has_spare() && !lead.turn().ticket().is_fenced()).then_some(lead)
}

/// How a value that was found answers.
#[derive(Clone, Copy)]
enum Finding {
    Fresh(Nanos),
    Stale,
}

impl Finding {
    fn give(self, call: &Call) {
        match self {
            Self::Fresh(fresh_until) => call.hit(call.cache.0.left(fresh_until)),
            Self::Stale => {
                // As where its load has just failed: each look-up is a hit or a miss.
                call.missed();
                call.answered(Answer::Stale);
            }
        }
    }
}

/// What an entry in memory answers without a load: a fresh value, a `None` that is remembered, or a stale value while
/// the next load is put off.
fn answer_of<V: Clone + Send + Sync + 'static>(
    call: &Call,
    held: &Held,
) -> Option<(Option<V>, Finding)> {
    let now = call.cache.0.clock.coarse();
    let put_off = || held.extra.as_ref().is_some_and(|extra| !extra.is_due(now));
    let finding = if held.is_fresh(now) {
        Finding::Fresh(held.fresh_until)
    } else if put_off() {
        Finding::Stale
    } else {
        return None;
    };
    let value = if held.value.is::<Nothing>() {
        if !call.traits.nothing {
            return None;
        }
        None
    } else {
        Some(kept::open::<V>(&held.value)?)
    };
    Some((value, finding))
}

/// Ends the lead with what was found in the backend.
fn take<V: Clone + Send + Sync + 'static>(
    call: &Call,
    mut lead: Box<Lead<V>>,
    seen: Sight<Option<V>>,
    finding: Finding,
) -> Option<V> {
    if let Some(turn) = lead.turn.take() {
        label(&turn, &lead, &seen);
        share_found(turn, seen.value.as_ref(), finding);
    }
    finding.give(call);
    seen.value
}

/// Says that a value which is about to be shared has tags of its own: one of them may be invalidated before a follower
/// takes it.
fn label<V>(turn: &Turn, lead: &Lead<V>, seen: &Sight<Option<V>>) {
    if !tags_of(&seen.about, lead.known_tags()).is_empty() {
        turn.ticket().label();
    }
}

/// Waits for another caller's flight. `Ok` is a turn of this caller's own, or nothing where what the flight brought may
/// have been invalidated before this caller came.
async fn follow<V: Clone + Send + Sync + 'static>(
    call: &Call,
    ticket: Ticket,
    limits: &Limits,
) -> Result<Option<Turn>, Found<V>> {
    let inner = &call.cache.0;
    let flight = ticket.flight_id();
    if is_loading(|chain| chain.flight == flight) {
        // The load has reached its own key: waiting for itself would never end.
        call.missed();
        return Err(Found::Alone);
    }
    let patience = Instant::now() + inner.config.follow_timeout;
    let until = limits.hard().map_or(patience, |hard| hard.min(patience));
    call.waits(true);
    let observer = ticket.observer();
    let mut wait = std::pin::pin!(ticket.wait());
    let mut waited = None;
    if let Some(soft) = limits.soft().filter(|soft| *soft < until) {
        waited = timeout_at(soft, wait.as_mut()).await.ok();
        if waited.is_none()
            && let Some(spare) = spare_of(call, &observer)
            && let Some(value) = Box::pin(spare.confirmed::<V>(call, &observer)).await
        {
            call.missed();
            call.answered(Answer::Stale);
            return Err(Found::Value(Some(value)));
        }
    }
    if waited.is_none() {
        waited = timeout_at(until, wait).await.ok();
    }
    call.waits(false);
    let Some(waited) = waited else {
        call.missed();
        if limits.are_over() {
            call.answered(Answer::Loaded(Duration::ZERO));
            return Err(Found::Late);
        }
        call.count(Event::FollowTimeout);
        return Err(Found::Alone);
    };
    match waited {
        Waited::Turn(turn) => Ok(Some(turn)),
        Waited::Outdated => Ok(None),
        Waited::Landed(landed) => Err(landed_on(call, landed)),
    }
}

fn landed_on<V: Clone + Send + Sync + 'static>(call: &Call, landed: Landed) -> Found<V> {
    let inner = &call.cache.0;
    match landed {
        Landed::Value {
            value,
            fresh_until,
            source,
        } => {
            let left = inner.left(fresh_until);
            match source {
                Source::Found => call.hit(left),
                Source::Loaded => {
                    call.missed();
                    call.count(Event::Coalesced);
                    call.answered(Answer::Loaded(left));
                }
                Source::Stale => {
                    call.missed();
                    call.count(Event::Coalesced);
                    call.answered(Answer::Stale);
                }
            }
            // A flight is joined by the type of its value: what is no value of it is a `None`.
            Found::Value(kept::open(&value))
        }
        Landed::Other(other) => {
            call.missed();
            call.count(Event::Coalesced);
            call.answered(Answer::Loaded(Duration::ZERO));
            Found::Other(other)
        }
    }
}

/// Gives the followers, if there are any, what was found and not loaded.
fn share_found<V: Clone + Send + Sync + 'static>(turn: Turn, value: Option<&V>, finding: Finding) {
    let Some(turn) = turn.retire() else { return };
    let (fresh_until, source) = match finding {
        Finding::Fresh(fresh_until) => (fresh_until, Source::Found),
        Finding::Stale => (0, Source::Stale),
    };
    let value: Shared = match value {
        Some(value) => kept::boxed(value),
        None => Arc::new(Nothing),
    };
    drop(turn.land(Landed::Value {
        value,
        fresh_until,
        source,
    }));
}
