//! Removals: when they began, when they returned, and from when on other processes have to follow.

use super::*;

impl World {
    pub(crate) fn removal_begins(&self, process: usize, covers: Covers, kind: Kind) -> usize {
        let mut state = self.state();
        let began = state.tick();
        let number = state.removals.len();
        if kind.removes() {
            state.totals.invalidations += 1;
            let met = state
                .loads
                .iter()
                .any(|load| load.ended.is_none() && covers.has(load.key));
            state.totals.met_a_load += u64::from(met);
        }
        if matches!(kind, Kind::Token | Kind::Expire) {
            state.tokens_moved = Some(Instant::now());
        }
        state.removals.push(Removal {
            process,
            covers,
            kind,
            began,
            returned: None,
            others: Others::NotYet,
            brought: None,
        });
        let key = (covers.0.count_ones() == 1).then(|| covers.0.trailing_zeros() as usize);
        state.note(key, || {
            format!(
                "p{process} {kind:?} {number} of {:b} begins",
                covers.0 & 0xFFFF
            )
        });
        // The number is its moment.
        usize::try_from(began).unwrap_or(0)
    }

    /// A refresh has brought a value, which is stored behind its answer.
    pub(crate) fn refreshed(&self, began: usize) {
        let mut state = self.state();
        let mut removals = state.removals.iter_mut();
        if let Some(refresh) = removals.find(|removal| removal.began == began as u64) {
            refresh.brought = Some(Instant::now());
        }
    }

    pub(crate) fn removal_returns(&self, began: usize, reach: Option<Reach>) {
        let mut state = self.state();
        let returned = state.tick();
        let Some(at) = state
            .removals
            .iter()
            .position(|removal| removal.began == began as u64)
        else {
            return;
        };
        let process = state.removals[at].process;
        let losses = state.processes[process].losses;
        let trusts = state.processes[process].trusts();
        let now = Instant::now();
        let removal = &mut state.removals[at];
        removal.returned = Some(returned);
        let is_clear = matches!(removal.kind, Kind::Token | Kind::Expire);
        let key = (removal.covers.0.count_ones() == 1)
            .then(|| removal.covers.0.trailing_zeros() as usize);
        if removal.kind.removes() {
            removal.others = match reach {
                Some(Reach::Applied) => Others::From(returned, now),
                Some(_) if trusts => Others::From(returned, now),
                Some(_) => Others::AtTrust { losses, run: 0 },
                None => Others::NotYet,
            };
        }
        let covers = removal.covers.0 & 0xFFFF;
        if is_clear {
            state.tokens_moved = Some(now);
        }
        if reach == Some(Reach::Journaled) {
            state.totals.journaled += 1;
        }
        state.note(key, || {
            format!("p{process} removal of {covers:b} begun at {began} returns: {reach:?}")
        });
    }
}
