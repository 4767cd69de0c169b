//! Counts over all seeds.

use std::fmt;
use std::ops::AddAssign;

/// What can be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Kill,
    Freeze,
    Blackhole,
    RestartEmpty,
    RestartSnapshot,
    Promote,
    ReadOnly,
    OutOfMemory,
    Loading,
    LoseReply,
}

pub(crate) const FAULTS: [FaultKind; 10] = [
    FaultKind::Kill,
    FaultKind::Freeze,
    FaultKind::Blackhole,
    FaultKind::RestartEmpty,
    FaultKind::RestartSnapshot,
    FaultKind::Promote,
    FaultKind::ReadOnly,
    FaultKind::OutOfMemory,
    FaultKind::Loading,
    FaultKind::LoseReply,
];

/// Its place.
pub(crate) const BLACKHOLE: usize = 2;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) calls: u64,
    pub(crate) hits: u64,
    pub(crate) stale: u64,
    pub(crate) loads: u64,
    pub(crate) ahead: u64,
    pub(crate) invalidations: u64,
    pub(crate) met_a_load: u64,
    pub(crate) journaled: u64,
    pub(crate) faults: [u64; FAULTS.len()],
    /// Faults that came while loads, removals of several keys, or writes and removals of one were under way.
    pub(crate) struck_upon: [u64; 3],
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.calls += other.calls;
        self.hits += other.hits;
        self.stale += other.stale;
        self.loads += other.loads;
        self.ahead += other.ahead;
        self.invalidations += other.invalidations;
        self.met_a_load += other.met_a_load;
        self.journaled += other.journaled;
        for (own, more) in self.faults.iter_mut().zip(other.faults) {
            *own += more;
        }
        for (own, more) in self.struck_upon.iter_mut().zip(other.struck_upon) {
            *own += more;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds: {} calls ({} hits, {} stale), {} loads ({} ahead), {} invalidations ({} journaled); {} of them met a load in flight",
            self.seeds,
            self.calls,
            self.hits,
            self.stale,
            self.loads,
            self.ahead,
            self.invalidations,
            self.journaled,
            self.met_a_load
        )?;
        write!(f, "faults:")?;
        for (kind, count) in FAULTS.iter().zip(self.faults) {
            write!(f, " {kind:?} {count}")?;
        }
        let [loads, sweeps, writes] = self.struck_upon;
        let all: u64 = self.faults.iter().sum();
        write!(
            f,
            "; of all {all}, {loads} while a load was under way, {sweeps} a sweep or a clear, {writes} a write"
        )
    }
}
