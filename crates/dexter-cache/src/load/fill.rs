//! A loaded value on its way to where it is kept.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::memory::Held;
use crate::call::Call;
use crate::clock;
use crate::flight::{Arrival, Shared, Ticket};
use crate::key::Key;
use crate::stats::Event;
use crate::tag::{Marks, TagId};
use crate::target::Target;
use crate::telemetry::TARGET;
use crate::tier::{Lease, Tier};
use crate::wire;

/// A loaded value on its way to the backend. The flight can be joined until it is there.
pub(super) struct Fill {
    pub(super) call: Arc<Call>,
    pub(super) arrival: Arrival,
    pub(super) tier: Arc<Tier>,
    pub(super) lease: Lease,
    pub(super) bytes: Vec<u8>,
    pub(super) life: Duration,
    pub(super) shared: Shared,
    /// Tags that became known by the load.
    pub(super) more: Vec<TagId>,
}

impl Fill {
    pub(super) async fn store(self) {
        let Self {
            call,
            arrival,
            tier,
            lease,
            mut bytes,
            life,
            shared,
            more,
        } = self;
        let ticket = arrival.ticket();
        if ticket.is_fenced() {
            call.count(Event::Fenced);
            tier.release(&call.key, ticket.token()).await;
            return;
        }
        let budget = &mut tier.budget();
        if !more.is_empty() {
            // Asked of this process first: what it has just invalidated may not have been yet elsewhere.
            let labels = lease.labels();
            let tokens = match ticket.marks(&more) {
                Some(_) => tier.label_more(labels, &more, budget).await,
                None => Ok(None),
            };
            match tokens {
                Ok(Some(tokens)) => wire::write_tokens(&mut bytes, labels.tags.len(), &tokens),
                Ok(None) => {
                    call.count(Event::Fenced);
                    tier.release(&call.key, ticket.token()).await;
                    return;
                }
                Err(_) => {
                    tier.abandon(&call.key).await;
                    keep_in_fallback(&call, ticket, &tier, shared, life, &more);
                    return;
                }
            }
        }
        match tier.fill(&call.key, &lease, bytes, life, budget).await {
            Ok(true) => {
                // A backend that cannot compare may have stored what an invalidation had just removed.
                if !lease.is_compared() && ticket.is_fenced() {
                    call.count(Event::Fenced);
                    let _ = tier.remove(&[Target::Key(call.key.clone())]).await;
                } else {
                    call.count(Event::Stored);
                }
            }
            Ok(false) => call.count(Event::Fenced),
            Err(error) => {
                tracing::debug!(target: TARGET, key = %call.key, error = %error, "a value was not stored");
                tier.abandon(&call.key).await;
                keep_in_fallback(&call, ticket, &tier, shared, life, &more);
            }
        }
    }
}

/// Runs `insert` unless the flight is fenced, and counts which it was.
///
/// The flight's tags may not have been invalidated either; `more` are those that became known by the load.
pub(super) fn keep(
    call: &Call,
    ticket: &Ticket,
    more: &[TagId],
    insert: impl FnOnce(&Key, Marks) -> bool,
) -> bool {
    let mut stored = false;
    let marks = ticket.marks(more);
    if marks.is_some_and(|marks| ticket.store(|key| stored = insert(key, marks))) {
        call.count(if stored {
            Event::Stored
        } else {
            Event::TooLarge
        });
    } else {
        call.count(Event::Fenced);
    }
    stored
}

/// Keeps a value in memory while the backend is away; returns for how long.
pub(super) fn keep_in_fallback(
    call: &Call,
    ticket: &Ticket,
    tier: &Tier,
    shared: Shared,
    life: Duration,
    more: &[TagId],
) -> Duration {
    let life = life.min(tier.config.fallback_ttl);
    if life.is_zero() || tier.is_trusted() {
        return Duration::ZERO;
    }
    let fresh_until = clock::after(call.cache.0.clock.now(), life);
    // Asked again under the lock of the flight: the guardian empties memory after all who hold it have let go.
    let stored = keep(call, ticket, more, |key, marks| {
        let held = Held::new(shared, fresh_until).marked(marks);
        !tier.is_trusted() && tier.fallback.insert(key, held, None)
    });
    if stored { life } else { Duration::ZERO }
}
