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
                soft: None,
                began_at: Instant::now(),
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

    /// A call takes a stale value after so long.
    pub(crate) fn hurries(&self, look: &Look, soft: Duration) {
        if let Some(place) = look.joins {
            self.state().sharing[place].soft = Some(soft);
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
        state.note_stale(look, value);
        let clause = state
            .too_old(look, value)
            .or_else(|| state.violated(look, value))
            .or_else(|| state.unconfirmed(look, value))
            .or_else(|| state.overtook(look, value));
        if let Some(clause) = clause {
            let text = format!(
                "{clause}: p{process} {what} of k{key}, begun at {}, gives version {} of load {}, begun at {}",
                look.began, value.version, value.load, state.loads[value.load].began
            );
            state.complain(Some(key), text);
        }
    }

    /// Whether the value that a call has loaded for itself was loaded after the call came.
    pub(crate) fn is_of_its_own(&self, what: &str, look: &Look, value: Value) {
        let mut state = self.state();
        if state.loads[value.load].began <= look.began {
            let Look { process, key, .. } = *look;
            let text = format!("clause (g): p{process} {what} of k{key} gives an earlier load");
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
    /// Whether a value is past its time, and may not answer; or past its freshness, and no load has failed.
    fn too_old(&self, look: &Look, value: Value) -> Option<String> {
        let load = &self.loads[value.load];
        let (_, ended) = load.ended?;
        let slack = if load.kept.stale.is_zero() {
            if self.faulty { LATE } else { FILL }
        } else {
            self.slack()
        };
        let fresh_until = ended + load.kept.ttl + slack;
        if Instant::now() > fresh_until + load.kept.stale {
            return Some("clause (d), past its time".to_owned());
        }
        if look.began_at <= fresh_until {
            return None;
        }
        if look.joins.is_none() {
            return Some("clause (e), stale to one who does not load".to_owned());
        }
        (!self.has_failed(look, load))
            .then(|| "clause (e), stale although no load failed".to_owned())
    }

    /// Whether a load of the key has failed of late, so that a stale value may answer, or somebody else's takes too long.
    fn has_failed(&self, look: &Look, value: &Load) -> bool {
        let since = value.kept.throttle + self.slack();
        let hurried = self.sharing.iter().any(|call| {
            call.process == look.process
                && call.key == look.key
                && (call.soft.is_some() || call.began_at.elapsed() >= LONG_WAIT)
                && call.ended.is_none_or(|ended| ended > look.began)
        });
        // Whoever waits too long for another process's load takes what is there, and shares it.
        hurried
            || self.loads.iter().any(|load| {
                load.key == look.key
                    && load.refused
                    && load
                        .ended
                        .is_some_and(|(_, ended)| ended + since >= look.began_at)
            })
    }

    fn slack(&self) -> Duration {
        if self.faulty { SLACK } else { SLIGHT }
    }

    /// Whether a call whose own load has failed is answered with what had been removed before that: the server is asked once
    /// more, and this process knows of its own removals.
    fn unconfirmed(&self, look: &Look, value: Value) -> Option<String> {
        let load = &self.loads[value.load];
        let own = self.loads.iter().rev().find(|load| {
            load.process == look.process && load.key == look.key && load.called == look.began
        });
        let (failed, _) = own.filter(|own| own.refused)?.ended?;
        let asked = self.all_ask && !self.faulty && !self.is_lost(look);
        let removed = self.removals.iter().any(|removal| {
            let before = if removal.process == look.process {
                removal.returned.is_some_and(|at| at < failed)
            } else {
                asked && matches!(removal.others, Others::From(from, _) if from < failed)
            };
            before
                && matches!(removal.kind, Kind::Removal | Kind::Token)
                && removal.covers.has(look.key)
                && removal.came_after(load)
        });
        removed.then(|| "clause (f), what was removed before its load failed".to_owned())
    }

    /// Whether a value is of a load that began before a refresh which has been stored since. Told only of those refreshes
    /// that nothing else has come in between.
    fn overtook(&self, look: &Look, value: Value) -> Option<String> {
        if self.faulty {
            return None;
        }
        let load = &self.loads[value.load];
        let told = if self.tiered {
            LIVENESS
        } else {
            Duration::ZERO
        };
        let void = |refresh: &Removal| {
            refresh.covers.has(look.key)
                && refresh
                    .brought
                    .is_some_and(|at| look.began_at > at + FILL + told)
                && load.began < refresh.began
                && (load.origin != Origin::Set
                    || load.ended.is_some_and(|(at, _)| at < refresh.began))
                && (refresh.process == look.process || !self.is_excused(look, load))
                && !self.shares(look, refresh.returned.unwrap_or(Order::MAX))
                && !self.removals.iter().any(|other| {
                    other.began != refresh.began
                        && (other.covers.has(look.key) || other.kind == Kind::Token)
                        && refresh.returned.is_none_or(|at| other.began < at)
                        && other.returned.is_none_or(|at| at > refresh.began)
                })
        };
        let refresh = self.removals.iter().find(|refresh| void(refresh))?;
        let (by, at) = (refresh.process, refresh.began);
        Some(format!(
            "clause (g), a refresh by p{by} begun at {at} has been stored"
        ))
    }

    /// Takes down that an answer was stale: the one to a call whose own load has failed.
    fn note_stale(&mut self, look: &Look, value: Value) {
        let load = &self.loads[value.load];
        let kept = load.kept;
        let Some((_, fresh)) = load.ended.map(|(at, ended)| (at, ended + kept.ttl)) else {
            return;
        };
        if kept.stale.is_zero() || look.began_at <= fresh + FILL {
            return;
        }
        self.totals.stale += 1;
        let own = self.loads.iter().rev().find(|load| {
            load.process == look.process
                && load.key == look.key
                && load.called == look.began
                && load.refused
        });
        let Some((own, failed)) = own.and_then(|own| Some((own, own.ended?.1))) else {
            return;
        };
        let of = &self.processes[look.process];
        if of.trusts() && look.trusted && of.losses == look.losses {
            let until = (failed + kept.throttle)
                .min(fresh.checked_sub(kept.ttl / 4).unwrap_or(fresh) + kept.stale);
            self.put_off.push(PutOff {
                process: look.process,
                key: look.key,
                since: own.called,
                at: self.order,
                until: until
                    .checked_sub(Duration::from_millis(60))
                    .unwrap_or(until),
                losses: of.losses,
            });
        }
    }

    fn violated(&self, look: &Look, value: Value) -> Option<String> {
        let load = &self.loads[value.load];
        self.removals.iter().find_map(|removal| {
            let falls_back = removal.kind == Kind::Expire
                && !load.kept.stale.is_zero()
                && look.joins.is_some()
                && self.has_failed(look, load);
            if !removal.covers.has(look.key) || !removal.came_after(load) || falls_back {
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
                && !self.outlasts(look, load, at_time)
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
        // It is in the memory of a process that has lost the server, at the latest when its fill was given up. Nothing of an
        // outage is left in the next one; what was read meanwhile may be, until this process is told.
        let outage = self.processes[look.process].recovered_at;
        self.is_lost(look)
            && Instant::now() <= ended + FILL + self.fallback_ttl
            && (self.tiered || outage.is_none_or(|at| ended + FILL >= at))
    }

    /// Whether a value that was read before others removed it at `since` may answer for a load that failed, in a process
    /// that has lost the server.
    fn outlasts(&self, look: &Look, load: &Load, since: Instant) -> bool {
        !load.kept.stale.is_zero()
            && look.joins.is_some()
            && self.is_lost(look)
            && Instant::now() <= since + FILL * 2 + self.fallback_ttl
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
        } else if self.tells && !self.faulty {
            PUSH
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
            Origin::Load | Origin::Ahead | Origin::Apart => load.began < self.began,
            // Two writes at once: either may come last. One whose fate is not known may come later in other processes, until
            // its own process has replayed its removal.
            Origin::Set => {
                self.kind.removes()
                    && load.ended.is_some_and(|(ended, _)| ended < self.began)
                    && (load.clean.is_some_and(|clean| clean < self.began)
                        || load.process == self.process)
            }
        }
    }
}
