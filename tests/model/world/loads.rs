//! Loads and sets: when they began, and whether two run at once that should have been one.

use super::*;

impl World {
    /// A load begins, in a call that has waited since `called`.
    pub(crate) fn load_begins(
        &self,
        process: usize,
        key: KeyNo,
        origin: Origin,
        called: (Order, Instant),
        kept: Kept,
    ) -> usize {
        let mut state = self.state();
        let began = state.tick();
        let number = state.loads.len();
        if origin == Origin::Ahead {
            state.totals.ahead += 1;
        }
        if matches!(origin, Origin::Load | Origin::Ahead) {
            state.totals.loads += 1;
            if origin == Origin::Load && state.is_put_off(process, key, called.0) {
                state.complain(
                    Some(key),
                    format!(
                        "throttle: p{process} begins load {number} of k{key}, which is put off"
                    ),
                );
            }
            if called.1.elapsed() < LONG_WAIT
                && let Some(other) = state.twin(process, key, origin, called.0)
            {
                state.complain(
                    Some(key),
                    format!(
                        "single flight: p{process} begins load {number} of k{key} while load {other} runs"
                    ),
                );
            }
        }
        state.loads.push(Load {
            key,
            process,
            origin,
            called: called.0,
            began,
            began_at: Instant::now(),
            ended: None,
            failed: false,
            refused: false,
            kept,
            clean: None,
        });
        state.note(Some(key), || {
            format!("p{process} load {number} of k{key} begins ({origin:?})")
        });
        number
    }

    pub(crate) fn load_ends(&self, number: usize, how: &str, failed: bool) {
        let mut state = self.state();
        let order = state.tick();
        let load = &mut state.loads[number];
        load.ended = Some((order, Instant::now()));
        load.failed = failed;
        load.refused = how == "fails";
        let (process, key) = (load.process, load.key);
        state.note(Some(key), || format!("p{process} load {number} {how}"));
    }

    /// A set has returned; whether the server has it is known by whether its process still trusts it.
    pub(crate) fn set_ends(&self, number: usize) {
        {
            let mut state = self.state();
            let process = state.loads[number].process;
            let clean = state.processes[process].trusts();
            state.loads[number].clean = clean.then_some(state.order);
        }
        self.load_ends(number, "is set", false);
    }
}

impl State {
    /// Whether a load has failed over a stale value so recently that no other is to be tried by a caller that comes
    /// after it. Only while nothing else has happened to the key or to the server.
    fn is_put_off(&self, process: usize, key: KeyNo, called: Order) -> bool {
        let now = Instant::now();
        let of = &self.processes[process];
        !self.faulty
            && of.trusts()
            && self.put_off.iter().any(|put_off| {
                let here = put_off.process == process && put_off.key == key;
                let removed = || {
                    self.removals.iter().any(|removal| {
                        removal.covers.has(key)
                            && removal.returned.is_none_or(|at| at > put_off.since)
                    })
                };
                let loaded = || {
                    self.loads.iter().any(|load| {
                        load.key == key
                            && !load.refused
                            && load.ended.is_none_or(|(at, _)| at > put_off.since)
                    })
                };
                here && called > put_off.at
                    && now < put_off.until
                    && put_off.losses == of.losses
                    && !removed()
                    && !loaded()
            })
    }

    /// Another load of the key in the process that a new one should have joined.
    fn twin(&self, process: usize, key: KeyNo, origin: Origin, called: Order) -> Option<usize> {
        let here = |load: &Load| load.process == process && load.key == key;
        let running = self
            .loads
            .iter()
            .rposition(|load| here(load) && load.origin == origin && load.ended.is_none())?;
        // Either flight may have been voided while its caller still waited to load.
        let since = self.loads[running].called.min(called);
        let voided = self.removals.iter().any(|removal| {
            removal.process == process
                && removal.covers.has(key)
                && removal.returned.is_none_or(|returned| returned > since)
        });
        // A fault makes the model forget what was set, and not that the flight from before is void.
        let set_anew = self
            .loads
            .iter()
            .any(|load| here(load) && load.origin == Origin::Set && load.began > since);
        let voided = voided || set_anew;
        // Callers of a load that fails try for themselves, a few at once.
        let failed = self
            .loads
            .iter()
            .any(|load| here(load) && load.failed && load.began_at.elapsed() < LONG_WAIT * 2);
        // What was written down elsewhere is replayed then, and a clear among it voids loads here.
        let replayed = self.last_recovery > since;
        // A process that learns of it, at once or a while later, voids the loads that it overtook, too.
        let cleared = self
            .tokens_moved
            .is_some_and(|at| at + LIVENESS * 2 > self.loads[running].began_at);
        (!voided && !failed && !replayed && !cleared).then_some(running)
    }
}
