//! A loaded value on its way to where it is kept.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::backend::memory::{Extra, Held};
use crate::call::Call;
use crate::clock::{self, Nanos};
use crate::flight::{Arrival, Shared, Ticket};
use crate::key::Key;
use crate::policy::Life;
use crate::stats::Event;
use crate::target::Target;
use crate::telemetry::TARGET;
use crate::tier::{Lease, Tier};

/// What is stored of a load, wherever that is.
pub(super) struct Stored {
    pub(super) value: Shared,
    pub(super) life: Life,
    pub(super) etag: Option<Box<str>>,
}

/// A loaded value on its way to the backend. The flight can be joined until it is there.
pub(super) struct Fill {
    pub(super) call: Arc<Call>,
    pub(super) arrival: Arrival,
    pub(super) tier: Arc<Tier>,
    pub(super) lease: Lease,
    pub(super) bytes: Vec<u8>,
    pub(super) stored: Stored,
}

impl Fill {
    pub(super) async fn store(self) {
        let Self {
            call,
            arrival,
            tier,
            lease,
            bytes,
            stored,
        } = self;
        let ticket = arrival.ticket();
        if ticket.is_fenced() {
            call.count(Event::Fenced);
            tier.release(&call.key, ticket.token()).await;
            return;
        }
        let kept = stored.life.kept();
        match tier
            .fill(&call.key, &lease, bytes, kept, &mut tier.budget())
            .await
        {
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
                keep_in_fallback(&call, ticket, &tier, stored);
            }
        }
    }
}

/// The entry for memory, of which most are plain.
pub(super) fn held(stored: Stored, now: Nanos) -> Held {
    let Stored { value, life, etag } = stored;
    let fresh_until = clock::after(now, life.fresh);
    let mut held = Held::new(value, fresh_until);
    if !life.stale.is_zero() || life.ahead.is_some() || etag.is_some() {
        let attempt_at = life
            .ahead
            .map_or(fresh_until, |ahead| clock::after(now, ahead));
        held.extra = Some(Arc::new(Extra {
            kept_until: clock::after(fresh_until, life.stale),
            attempt_at: AtomicU64::new(attempt_at),
            etag,
            ..Extra::default()
        }));
    }
    held
}

/// Runs `insert` unless the flight is fenced, and counts which it was.
pub(super) fn keep(call: &Call, ticket: &Ticket, insert: impl FnOnce(&Key) -> bool) -> bool {
    let mut stored = false;
    if ticket.store(|key| stored = insert(key)) {
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

/// Keeps a value in memory while the backend is away; returns for how long it is fresh there.
pub(super) fn keep_in_fallback(
    call: &Call,
    ticket: &Ticket,
    tier: &Tier,
    mut stored: Stored,
) -> Duration {
    stored.life = stored.life.within(tier.config.fallback_ttl);
    let life = stored.life;
    if life.kept().is_zero() || tier.is_trusted() {
        return Duration::ZERO;
    }
    let held = held(stored, call.cache.0.clock.now());
    // Asked again under the lock of the flight: the guardian empties memory after all who hold it have let go.
    let stored = keep(call, ticket, |key| {
        !tier.is_trusted() && tier.fallback.insert(key, held, None)
    });
    if stored { life.fresh } else { Duration::ZERO }
}
