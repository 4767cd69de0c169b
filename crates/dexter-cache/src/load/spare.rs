//! A value that is past its time, and may answer where a load fails or takes too long.

use std::sync::Arc;

use super::context::Present;
use crate::backend::memory::Held;
use crate::call::Call;
use crate::clock::{self, Nanos};
use crate::flight::{Observer, Shared, Ticket};
use crate::kept;
use crate::tag::{Marks, TagId, TagSet};
use crate::tier::{Seen, Sight, Tier};
use crate::wire::About;

/// What is there while a load runs.
#[derive(Clone)]
pub(super) struct Spare {
    pub(super) value: Shared,
    etag: Option<Box<str>>,
    /// By this process's clock.
    fresh_until: Nanos,
    kept_until: Nanos,
    /// Of what lies in the backend.
    about: Option<About>,
    /// Made invalid by this process when it invalidates a tag of the value; `None` where that may have happened since it
    /// was asked for.
    marks: Option<Marks>,
    pub(super) place: Place,
}

#[derive(Clone, Copy)]
pub(super) enum Place {
    Memory,
    Backend {
        /// The write, or the lease that was written into it.
        token: u128,
        read_at: Nanos,
    },
}

impl Spare {
    pub(super) fn in_memory(held: &Held, now: Nanos) -> Self {
        Self {
            value: Arc::clone(&held.value),
            etag: held.extra.as_ref().and_then(|extra| extra.etag.clone()),
            fresh_until: if held.is_fresh(now) {
                held.fresh_until
            } else {
                0
            },
            kept_until: held.kept_until(),
            about: None,
            marks: Some(held.marks().cloned().unwrap_or_default()),
            place: Place::Memory,
        }
    }

    /// `None` for a `None`: there is nothing to fall back on.
    pub(super) fn in_backend<V: Clone + Send + Sync + 'static>(
        seen: Sight<Option<V>>,
        now: Nanos,
        (ticket, known): (&Ticket, &TagSet),
    ) -> Option<Self> {
        let more = tags_of(&seen.about, known);
        Some(Self {
            value: Arc::new(seen.value?),
            etag: seen.etag,
            fresh_until: clock::after(now, seen.left),
            kept_until: clock::after(now, seen.kept),
            about: Some(seen.about),
            marks: ticket.marks(&more),
            place: Place::Backend {
                token: seen.token,
                read_at: now,
            },
        })
    }

    pub(super) fn present(&self) -> Present {
        Present {
            value: Arc::clone(&self.value),
            etag: self.etag.clone(),
        }
    }

    pub(super) fn value<V: Clone + 'static>(&self) -> Option<V> {
        kept::open(&self.value)
    }

    pub(super) fn is_fresh(&self, now: Nanos) -> bool {
        now < self.fresh_until
    }

    pub(super) fn is_kept(&self, now: Nanos) -> bool {
        now < self.kept_until
    }

    pub(super) fn fresh_until(&self) -> Nanos {
        self.fresh_until
    }

    pub(super) fn kept_until(&self) -> Nanos {
        self.kept_until
    }

    /// The tags that its load has put on it, beside those that are `known`. Of what is in memory only the marks are.
    pub(super) fn more_tags(&self, known: &TagSet) -> Vec<TagId> {
        let about = self.about.as_ref();
        about.map_or_else(Vec::new, |about| tags_of(about, known))
    }

    /// Whether no tag of it was invalidated by this process. All that is known where the backend cannot be asked.
    pub(super) fn still_counts_here(&self) -> bool {
        self.marks.as_ref().is_some_and(Marks::are_valid)
    }

    pub(super) fn marks(&self) -> Marks {
        self.marks.clone().unwrap_or_default()
    }

    /// Whether neither its tags nor the epoch have changed; asks only for what is not known.
    pub(super) async fn still_counts(&self, tier: &Tier) -> bool {
        let Some(mut about) = self.about.clone() else {
            return true;
        };
        let admitted = tier
            .admits(&mut about, &mut Seen::default(), &mut tier.budget())
            .await;
        matches!(admitted, Ok(true))
    }

    /// The value, if it may answer now for a load that takes too long.
    ///
    /// A removal by this process is seen by the fence, one by another process by asking the backend. If that is away, the
    /// value may answer for as long as what memory holds in an outage.
    pub(super) async fn confirmed<V>(&self, call: &Call, observer: &Observer) -> Option<V>
    where
        V: Clone + Send + Sync + 'static,
    {
        let inner = &call.cache.0;
        let now = inner.clock.now();
        if observer.is_fenced() || !self.is_kept(now) || self.is_fresh(now) {
            return None;
        }
        let Place::Backend { token, read_at } = self.place else {
            return stale_in_memory(call).and_then(|spare| spare.value());
        };
        let tier = inner.tier.as_ref()?;
        let there = match tier.still_holds(&call.key, token).await {
            Ok(there) => there && self.still_counts(tier).await,
            Err(_) => self.still_counts_here() && outlasts_outage(call, read_at),
        };
        (there && !observer.is_fenced()).then(|| self.value())?
    }
}

pub(super) fn tags_of(about: &About, known: &TagSet) -> Vec<TagId> {
    let tags = about.tags.iter().map(|tag| TagId(tag.tag));
    tags.filter(|tag| !known.as_slice().contains(tag)).collect()
}

/// Whether what was read at `read_at` may answer although the backend cannot be asked any more.
pub(super) fn outlasts_outage(call: &Call, read_at: Nanos) -> bool {
    let inner = &call.cache.0;
    inner
        .tier
        .as_ref()
        .is_some_and(|tier| inner.clock.now() < clock::after(read_at, tier.config.fallback_ttl))
}

/// The stale value in the memory that serves now.
pub(super) fn stale_in_memory(call: &Call) -> Option<Spare> {
    let inner = &call.cache.0;
    let held = inner.kept_in_memory(&call.key, call.traits.local)?;
    let now = inner.clock.coarse();
    (!held.is_fresh(now)).then(|| Spare::in_memory(&held, now))
}

/// What followers of `ticket` can be answered with: what its leader left, or what is in memory.
pub(super) fn spare_of(call: &Call, observer: &Observer) -> Option<Spare> {
    match observer.spare() {
        Some(spare) => spare.downcast_ref::<Spare>().cloned(),
        None => stale_in_memory(call),
    }
}

/// Leaves `spare` for those who follow the flight.
pub(super) fn leave(ticket: &Ticket, spare: &Spare) {
    if let Place::Backend { .. } = spare.place {
        ticket.leave_spare(Arc::new(spare.clone()));
    }
}
