//! A loaded value on its way to where it is kept.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::backend::memory::{Held, MemoryStore};
use crate::call::Call;
use crate::clock::Nanos;
use crate::flight::{Arrival, Shared, Ticket};
use crate::policy::Life;
use crate::stats::Event;
use crate::tag::{Marks, TagId};
use crate::target::Target;
use crate::telemetry::TARGET;
use crate::tier::{CutOff, Lease, Tier};
use crate::wire;

/// What is stored of a load, wherever that is.
pub(super) struct Stored {
    pub(super) value: Shared,
    pub(super) life: Life,
    pub(super) etag: Option<Box<str>>,
    /// Of a value that was there before: what was seen of its tags.
    pub(super) marks: Marks,
}

/// A loaded value on its way to the backend. The flight can be joined until it is there.
pub(super) struct Fill {
    pub(super) call: Arc<Call>,
    pub(super) arrival: Arrival,
    pub(super) tier: Arc<Tier>,
    pub(super) lease: Box<Lease>,
    pub(super) cut_off: CutOff,
    pub(super) bytes: Vec<u8>,
    pub(super) stored: Stored,
    /// Tags that became known by the load.
    pub(super) more: Vec<TagId>,
}

impl Fill {
    /// Stores behind the answer.
    pub(super) fn begin(self) {
        let background = Arc::clone(&self.call.cache.0.background);
        // There is a runtime: the backend was asked on it.
        drop(background.spawn(self.store().instrument(tracing::Span::current())));
    }

    pub(super) async fn store(self) {
        let Self {
            call,
            arrival,
            tier,
            lease,
            cut_off,
            mut bytes,
            stored,
            more,
        } = self;
        let ticket = arrival.ticket();
        if ticket.is_fenced() {
            call.count(Event::Fenced);
            tier.release(&call.key, ticket.token()).await;
            cut_off.done();
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
                    cut_off.done();
                    return;
                }
                Err(_) => {
                    tier.abandon(&call.key).await;
                    keep_in_fallback(&call, ticket, &tier, stored, &more);
                    cut_off.done();
                    return;
                }
            }
        }
        let kept = stored.life.kept();
        match tier.fill(&call.key, &lease, bytes, kept, budget).await {
            Ok(true) => {
                // What L1 holds is older; where changes are told, it is gone already.
                tier.evict(&call.key);
                // A backend that cannot compare may have stored what an invalidation had just removed.
                if !lease.is_compared() && ticket.is_fenced() {
                    call.count(Event::Fenced);
                    let _ = Box::pin(tier.remove(&[Target::Key(call.key.clone())])).await;
                } else {
                    call.count(Event::Stored);
                }
            }
            Ok(false) => call.count(Event::Fenced),
            Err(error) => {
                tracing::debug!(target: TARGET, key = %call.key, error = %error, "a value was not stored");
                tier.abandon(&call.key).await;
                keep_in_fallback(&call, ticket, &tier, stored, &more);
            }
        }
        cut_off.done();
    }
}

/// The entry for memory.
pub(super) fn held(stored: Stored, now: Nanos) -> Held {
    let Stored {
        value,
        life,
        etag,
        marks,
    } = stored;
    Held::living(value, now, life, etag).marked(marks)
}

/// Keeps a value in a store of this process, unless the flight is fenced or `open` says no in one step with that
/// question, and counts which it was. `more` are tags that became known by the load: they may not have been
/// invalidated either.
pub(super) fn keep(
    call: &Call,
    ticket: &Ticket,
    store: &MemoryStore,
    held: Held,
    more: &[TagId],
    open: impl FnOnce() -> bool,
) -> bool {
    let Some(marks) = ticket.marks(more) else {
        call.count(Event::Fenced);
        return false;
    };
    if held.marks().is_some_and(|marks| !marks.are_valid()) {
        call.count(Event::Fenced);
        return false;
    }
    let held = held.marked(marks);
    // The lock of the flight is held over the second half only: weighing and dropping values run code of the user.
    let mut weighed = Some(store.weigh(&call.key, held, None));
    let put = ticket.store(|_| {
        let weighed = weighed.take_if(|_| open());
        weighed.map(|weighed| store.put(weighed))
    });
    let Some(put) = put else {
        call.count(Event::Fenced);
        return false;
    };
    let stored = put.is_some_and(|put| put.stored);
    call.count(if stored {
        Event::Stored
    } else {
        Event::TooLarge
    });
    stored
}

/// Keeps a value in memory while the backend is away; returns for how long.
pub(super) fn keep_in_fallback(
    call: &Call,
    ticket: &Ticket,
    tier: &Tier,
    mut stored: Stored,
    more: &[TagId],
) -> Duration {
    stored.life = stored.life.within(tier.config.fallback_ttl);
    let life = stored.life;
    if life.kept().is_zero() || tier.is_trusted() {
        return Duration::ZERO;
    }
    // It must not come to light again when the newer value has gone.
    tier.evict(&call.key);
    let held = held(stored, call.cache.0.clock.now());
    // Asked again under the lock of the flight: the guardian empties memory after all who hold it have let go.
    let stored = keep(call, ticket, &tier.fallback, held, more, || {
        !tier.is_trusted()
    });
    if stored { life.fresh } else { Duration::ZERO }
}
