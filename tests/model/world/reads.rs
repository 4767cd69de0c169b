//! Reads: what was answered, and whether it may have been.

use super::*;

impl World {
    pub(crate) fn look(&self, process: usize, key: KeyNo, joins: bool) -> Look {
        let mut state = self.state();
        let began = state.tick();
        state.totals.calls += 1;
        let joins = joins.then(|| {
            state.sharing.push(Sharing {
                process,
                key,
                began,
                ended: None,
            });
            state.sharing.len() - 1
        });
        let of = &state.processes[process];
        Look {
            process,
            key,
            began,
            began_at: Instant::now(),
            losses: of.losses,
            trusted: of.trusts(),
            joins,
        }
    }

    /// A call is over.
    pub(crate) fn leave(&self, look: &Look) {
        let mut state = self.state();
        let order = state.tick();
        if let Some(place) = look.joins {
            state.sharing[place].ended = Some(order);
        }
    }

    /// What a call was answered. `loaded` is the load that the call itself ran.
    pub(crate) fn judge(&self, what: &str, look: &Look, value: Value, loaded: bool) {
        let mut state = self.state();
        state.tick();
        let Look { process, key, .. } = *look;
        state.totals.hits += u64::from(!loaded);
        state.note(Some(key), || {
            format!(
                "p{process} {what} of k{key} begun at {} gives version {} of load {}",
                look.began, value.version, value.load
            )
        });
        if value.key != key || value.version > state.versions[key] {
            state.complain(
                Some(key),
                format!("p{process} {what} of k{key} gives {value:?}"),
            );
            return;
        }
        if let Some(clause) = state.violated(look, value) {
            let text = format!(
                "{clause}: p{process} {what} of k{key}, begun at {}, gives version {} of load {}, begun at {}",
                look.began, value.version, value.load, state.loads[value.load].began
            );
            state.complain(Some(key), text);
        }
    }

    pub(crate) fn missed(&self, what: &str, look: &Look) {
        let mut state = self.state();
        state.tick();
        let Look { process, key, .. } = *look;
        state.note(Some(key), || {
            format!("p{process} {what} of k{key}: nothing")
        });
    }
}

impl State {
    fn violated(&self, look: &Look, value: Value) -> Option<String> {
        let load = &self.loads[value.load];
        self.removals.iter().find_map(|removal| {
            if !removal.covers.has(look.key) || !removal.came_after(load) {
                return None;
            }
            let at = removal.began;
            if removal.process == look.process {
                let binds = removal.kind != Kind::Refresh
                    && removal
                        .returned
                        .is_some_and(|returned| returned < look.began);
                return binds.then(|| format!("clause (a), {:?} begun at {at}", removal.kind));
            }
            let Others::From(from, at_time) = removal.others else {
                return None;
            };
            let binds = from < look.began
                && !self.is_excused(look, load)
                && !self.shares(look, from)
                && !self.is_behind(look, at_time);
            binds.then(|| {
                format!(
                    "clause (b) or (c), removal by p{} begun at {at}",
                    removal.process
                )
            })
        })
    }

    /// Whether a process may go on giving the value of its own load although another one has removed it.
    fn is_excused(&self, look: &Look, load: &Load) -> bool {
        if load.process != look.process {
            return false;
        }
        let Some((_, ended)) = load.ended else {
            return look.joins.is_some();
        };
        // It was under way, up to the end of its fill, and could be shared.
        if look.joins.is_some() && look.began_at <= ended + FILL {
            return true;
        }
        // It is in the memory of a process that has lost the server, at the latest when its fill was given up.
        self.is_lost(look) && Instant::now() <= ended + FILL + self.fallback_ttl
    }

    /// Whether a call may have joined another one of its process that had looked before others had to follow the removal.
    fn shares(&self, look: &Look, from: Order) -> bool {
        look.joins.is_some()
            && self.sharing.iter().any(|call| {
                call.process == look.process
                    && call.key == look.key
                    && call.began < from
                    && call.ended.is_none_or(|ended| ended > look.began)
            })
    }

    /// Whether a process that keeps what it reads may not have been told yet of a removal that others had to follow from
    /// `since` on.
    fn is_behind(&self, look: &Look, since: Instant) -> bool {
        let bound = if self.is_lost(look) {
            LIVENESS.max(self.fallback_ttl)
        } else {
            LIVENESS
        };
        self.tiered && look.began_at <= since + bound
    }

    /// Whether the process did not trust the server at some moment of the call.
    fn is_lost(&self, look: &Look) -> bool {
        let of = &self.processes[look.process];
        !look.trusted || of.losses != look.losses || !of.trusts()
    }
}

impl Removal {
    /// Whether what `load` brought is older than this.
    fn came_after(&self, load: &Load) -> bool {
        match load.origin {
            Origin::Load | Origin::Apart => load.began < self.began,
            // Two writes at once: either may come last. One whose fate is not known may come later in other processes, until
            // its own process has replayed its removal.
            Origin::Set => {
                self.kind.removes()
                    && load.ended.is_some_and(|(ended, _)| ended < self.began)
                    && (load.clean || load.process == self.process)
            }
        }
    }
}
