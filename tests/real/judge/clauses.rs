//! Which removals bind an answer, and what is allowed for.

use std::time::Instant;

use super::{Call, LIVENESS, Load, Order, Others, Removal, SLACK, State, has};
use crate::wire::{Kind, Origin};

impl State {
    /// The clause by which a call must not get what a load brought if that is older than the removal.
    pub(super) fn binds(
        &self,
        removal: &Removal,
        call: &Call,
        load: &Load,
        lost: bool,
    ) -> Option<&'static str> {
        if !has(removal.covers, call.key) {
            return None;
        }
        if removal.process == call.process {
            let before = removal
                .returned
                .is_some_and(|returned| returned < call.began);
            return (before && removal.kind != Kind::Refresh).then_some("(a)");
        }
        let Others::From(from, since) = removal.others else {
            return None;
        };
        let binds = from < call.began
            && !self.is_excused(call, load, lost)
            && !self.shares(call, from)
            && !self.is_behind(call, since, lost);
        binds.then_some("(b) or (c)")
    }

    /// Whether a process may go on giving the value of its own load although another one has removed it.
    fn is_excused(&self, call: &Call, load: &Load, lost: bool) -> bool {
        if load.process != call.process {
            return false;
        }
        let Some((_, ended)) = load.ended else {
            return call.joins;
        };
        let filled = ended + self.terms.budget + SLACK;
        // It was under way, up to the end of its fill, and could be shared; or a process that has lost the server
        // remembers it.
        (call.joins && call.began_at <= filled)
            || (lost && call.began_at <= filled + self.terms.fallback_ttl)
    }

    /// Whether a call may have joined another one of its process that had looked before others had to follow.
    fn shares(&self, call: &Call, from: Order) -> bool {
        call.joins
            && self.calls.iter().any(|other| {
                other.joins
                    && other.process == call.process
                    && other.key == call.key
                    && other.began < from
                    && other.ended.is_none_or(|ended| ended > call.began)
            })
    }

    /// Whether a process that keeps what it reads may not have been told yet.
    fn is_behind(&self, call: &Call, since: Instant, lost: bool) -> bool {
        let bound = if lost {
            LIVENESS.max(self.terms.fallback_ttl)
        } else {
            LIVENESS
        };
        self.terms.tiered && call.began_at <= since + bound + SLACK
    }
}

impl Removal {
    /// Whether what `load` brought is older than this.
    pub(super) fn came_after(&self, load: &Load) -> bool {
        match load.origin {
            Origin::Load => load.began < self.began,
            // Two writes at once: either may come last. One whose fate is not known may come later in other processes,
            // until its own process has replayed its removal.
            Origin::Set => {
                self.kind == Kind::Removal
                    && load.ended.is_some_and(|(ended, _)| ended < self.began)
                    && (load.clean || load.process == self.process)
            }
        }
    }
}
