//! Counts over all seeds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// What can happen to a server, to the way to it, or to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL, and back with nothing.
    KillEmpty,
    /// SIGKILL, and back with an older snapshot.
    KillSnapshot,
    /// SIGSTOP, SIGCONT.
    StopServer,
    /// The same to one of the processes that ask it.
    StopProcess,
    /// The connections of a process carry nothing for a while.
    Freeze,
    /// They carry nothing, and are reset later.
    FreezeAndCut,
    /// They are reset.
    Cut,
    /// They are reset, and new ones refused for a while.
    Refuse,
    /// They are reset, and new ones never answered for a while.
    Hang,
    /// The server is demoted for a while: it refuses writes.
    Demote,
    /// The server has no memory left for a while: it refuses to store.
    Full,
}

pub(crate) const FAULTS: [Fault; 11] = [
    Fault::KillEmpty,
    Fault::KillSnapshot,
    Fault::StopServer,
    Fault::StopProcess,
    Fault::Freeze,
    Fault::FreezeAndCut,
    Fault::Cut,
    Fault::Refuse,
    Fault::Hang,
    Fault::Demote,
    Fault::Full,
];

/// What happened, and to which key.
pub(crate) type Trace = Vec<(Option<usize>, String)>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) tiered: u64,
    pub(crate) calls: u64,
    pub(crate) hits: u64,
    pub(crate) loads: u64,
    pub(crate) invalidations: u64,
    pub(crate) journaled: u64,
    pub(crate) met_a_load: u64,
    /// Answers that a removal in another process bound.
    pub(crate) bound: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    worst: BTreeMap<String, (u64, Duration)>,
}

impl Totals {
    pub(crate) fn took(&mut self, what: &str, took: Duration) {
        let of = self.worst.entry(what.to_owned()).or_default();
        *of = (of.0 + 1, of.1.max(took));
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.tiered += other.tiered;
        self.calls += other.calls;
        self.hits += other.hits;
        self.loads += other.loads;
        self.invalidations += other.invalidations;
        self.journaled += other.journaled;
        self.met_a_load += other.met_a_load;
        self.bound += other.bound;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (what, (count, worst)) in other.worst {
            let of = self.worst.entry(what).or_default();
            *of = (of.0 + count, of.1.max(worst));
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds ({} of them tiered): {} calls ({} hits), {} loads",
            self.seeds, self.tiered, self.calls, self.hits, self.loads
        )?;
        writeln!(
            f,
            "{} invalidations ({} journaled); {} of them met a load in flight; {} answers were bound by one of another process",
            self.invalidations, self.journaled, self.met_a_load, self.bound
        )?;
        write!(f, "faults:")?;
        for (fault, count) in &self.faults {
            write!(f, " {fault:?} {count}")?;
        }
        write!(f, "\nlongest, beyond the call's own load:")?;
        for (what, (_, worst)) in &self.worst {
            write!(f, " {what} {} ms", worst.as_millis())?;
        }
        Ok(())
    }
}
