//! What has happened, in one total order, and what may be read after it.
//!
//! The origin counts versions; a write counts one up and then removes through a cache. Each load is written down with the
//! moment at which it began, and the value that it brings carries its number, so that a reader can be asked: did the load
//! of this value begin before a removal that you had to follow?

mod loads;
mod reads;
mod removals;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dexter_cache::{Cache, Reach, Serving};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::report::Totals;

/// For how long after its load a flight can be joined: while the fill is under way, which takes one budget at most.
pub(crate) const FILL: Duration = Duration::from_millis(250);
/// By when a process has been told of a removal by another one, in `tiered` mode.
const LIVENESS: Duration = Duration::from_millis(2_500);
/// The same while nothing has happened to the server and it tells: a message that is under way.
const PUSH: Duration = Duration::from_millis(40);
/// From this long a wait on, a caller may load although somebody else does.
const LONG_WAIT: Duration = Duration::from_secs(4);
/// What is stored late, or counts its time from then on, and what a process may be wrong about the server's clock.
const LATE: Duration = Duration::from_secs(6);
/// The same of a value whose times are written beside it.
const SLACK: Duration = Duration::from_millis(1_500);
/// The same as long as nothing has happened to the server.
const SLIGHT: Duration = Duration::from_millis(100);

/// What happened, and to which key.
pub(crate) type Trace = Vec<(Option<KeyNo>, String)>;

/// A moment in the order of all that happens.
pub(crate) type Order = u64;
pub(crate) type KeyNo = usize;

/// What is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) key: KeyNo,
    pub(crate) version: u64,
    pub(crate) load: usize,
}

/// What a removal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covers(pub(crate) u32);

impl Covers {
    pub(crate) const ALL: Self = Self(u32::MAX);

    pub(crate) fn key(key: KeyNo) -> Self {
        Self(1 << key)
    }

    fn has(self, key: KeyNo) -> bool {
        self.0 & (1 << key) != 0
    }
}

/// Why a value came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Load,
    /// A refresh of what goes on answering.
    Ahead,
    /// A load that nobody joins and that joins nobody.
    Apart,
    /// A `set`.
    Set,
}

/// For how long what a load brings may be used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) ttl: Duration,
    /// For how long after that, where loads fail.
    pub(crate) stale: Duration,
    pub(crate) throttle: Duration,
}

#[derive(Debug)]
struct Load {
    key: KeyNo,
    process: usize,
    origin: Origin,
    /// When the call came that runs it.
    called: Order,
    began: Order,
    began_at: Instant,
    ended: Option<(Order, Instant)>,
    failed: bool,
    /// It has given an error.
    refused: bool,
    kept: Kept,
    /// Of a set: from when on the backend is known to have it, or to be rid of it.
    clean: Option<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Removal,
    /// Of a tag or of everything: a token changes, which others learn a while later.
    Token,
    /// Of everything that is fresh.
    Expire,
    /// A `set` voids loads as a removal does, in its own process.
    Set,
    /// It voids loads, and promises nothing about what is read.
    Refresh,
}

impl Kind {
    fn removes(self) -> bool {
        matches!(self, Self::Removal | Self::Token | Self::Expire)
    }
}

#[derive(Debug)]
struct Removal {
    process: usize,
    covers: Covers,
    kind: Kind,
    began: Order,
    returned: Option<Order>,
    /// From when on the other processes have to follow.
    others: Others,
    /// Of a refresh that has brought a value: since when.
    brought: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Others {
    /// It has not returned.
    NotYet,
    From(Order, Instant),
    /// When its process trusts the server again, after it has lost it so many times, and has met this run of it.
    AtTrust {
        losses: u64,
        run: u64,
    },
}

#[derive(Debug)]
struct Process {
    cache: Option<Cache>,
    losses: u64,
    /// The run of the server that it has met last.
    run: u64,
    trusted: bool,
    /// It has just begun to trust the server again.
    recovered: bool,
    recovered_at: Option<Instant>,
}

/// One caller's look, from before the call to its answer.
pub(crate) struct Look {
    pub(crate) process: usize,
    pub(crate) key: KeyNo,
    pub(crate) began: Order,
    pub(crate) began_at: Instant,
    losses: u64,
    trusted: bool,
    /// Its place among the calls that share what is under way.
    joins: Option<usize>,
}

/// A call that may share what another one of its process and key brings, or give it to others.
struct Sharing {
    process: usize,
    key: KeyNo,
    began: Order,
    ended: Option<Order>,
    /// After so long a stale value may answer, and all who share.
    soft: Option<Duration>,
    began_at: Instant,
}

pub(crate) struct World {
    state: Mutex<State>,
}

/// A call has been answered with a stale value, since its load failed.
struct PutOff {
    process: usize,
    key: KeyNo,
    /// Before the load.
    since: Order,
    at: Order,
    until: Instant,
    losses: u64,
}

struct State {
    fallback_ttl: Duration,
    /// Processes keep what they read.
    tiered: bool,
    /// The server tells of changes.
    tells: bool,
    order: Order,
    /// When a process was last seen to trust the server again.
    last_recovery: Order,
    /// When a clear, or the invalidation of a tag, last began or returned somewhere, or a process met another server.
    tokens_moved: Option<Instant>,
    /// Something has happened to the server.
    faulty: bool,
    /// Stale values answer only when the server has been asked.
    all_ask: bool,
    /// Loads that are put off.
    put_off: Vec<PutOff>,
    begun: Instant,
    versions: Vec<u64>,
    loads: Vec<Load>,
    removals: Vec<Removal>,
    sharing: Vec<Sharing>,
    processes: Vec<Process>,
    violations: Vec<String>,
    trace: Option<Trace>,
    totals: Totals,
}

impl World {
    pub(crate) fn new(
        keys: usize,
        processes: usize,
        fallback_ttl: Duration,
        tiered: bool,
        trace: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                fallback_ttl,
                tiered,
                tells: false,
                order: 0,
                last_recovery: 0,
                tokens_moved: None,
                faulty: false,
                all_ask: false,
                put_off: Vec::new(),
                begun: Instant::now(),
                versions: vec![1; keys],
                loads: Vec::new(),
                removals: Vec::new(),
                sharing: Vec::new(),
                processes: (0..processes)
                    .map(|_| Process {
                        cache: None,
                        losses: 0,
                        run: 0,
                        trusted: false,
                        recovered: false,
                        recovered_at: None,
                    })
                    .collect(),
                violations: Vec::new(),
                trace: trace.then(Vec::new),
                totals: Totals::default(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enlist(&self, process: usize, cache: &Cache) {
        self.state().processes[process].cache = Some(cache.clone());
    }

    /// Lets go of the caches, and gives what was found: violations, the trace, and the counts.
    pub(crate) fn end(&self) -> (Vec<String>, Trace, Totals) {
        let mut state = self.state();
        for process in &mut state.processes {
            process.cache = None;
        }
        (
            std::mem::take(&mut state.violations),
            state.trace.take().unwrap_or_default(),
            state.totals,
        )
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Totals)) {
        count(&mut self.state().totals);
    }

    pub(crate) fn note(&self, key: Option<KeyNo>, text: impl FnOnce() -> String) {
        self.state().note(key, text);
    }

    pub(crate) fn complain(&self, text: String) {
        self.state().complain(None, text);
    }

    /// The origin is written.
    pub(crate) fn bump(&self, key: KeyNo) -> u64 {
        let mut state = self.state();
        state.versions[key] += 1;
        state.versions[key]
    }

    pub(crate) fn version(&self, key: KeyNo) -> u64 {
        self.state().versions[key]
    }

    pub(crate) fn all_ask(&self) {
        self.state().all_ask = true;
    }

    pub(crate) fn changes_are_told(&self) {
        self.state().tells = true;
    }

    /// Something happens to the server; what is under way then is counted.
    pub(crate) fn fault_begins(&self) {
        let mut state = self.state();
        state.faulty = true;
        let sets = |load: &&Load| load.origin == Origin::Set;
        let running = || state.loads.iter().filter(|load| load.ended.is_none());
        let under_way = || state.removals.iter().filter(|one| one.returned.is_none());
        let wide = |one: &&Removal| one.covers.0.count_ones() > 1;
        let met = [
            running().any(|load| !sets(&load)),
            under_way().any(|one| wide(&one)),
            running().any(|load| sets(&load)) || under_way().any(|one| !wide(&one)),
        ];
        for (count, met) in state.totals.struck_upon.iter_mut().zip(met) {
            *count += u64::from(met);
        }
    }

    /// All is quiet: what was begun and not waited for is done, or written down and replayed.
    pub(crate) fn all_is_done(&self) {
        let mut state = self.state();
        let order = state.tick();
        for removal in &mut state.removals {
            if removal.returned.is_none() {
                removal.returned = Some(order);
                removal.others = Others::From(order, Instant::now());
            }
        }
    }

    /// A process stops trusting the server. Called by its backend.
    pub(crate) fn lost(&self, process: usize) {
        let mut state = self.state();
        state.processes[process].losses += 1;
        state.note(None, || format!("p{process} loses the server"));
    }

    /// A process has been answered by this run of the server.
    pub(crate) fn met(&self, process: usize, run: u64) {
        let mut state = self.state();
        if std::mem::replace(&mut state.processes[process].run, run) != run {
            state.tokens_moved = Some(Instant::now());
            state.note(None, || format!("p{process} meets run {run} of the server"));
        }
    }

    /// The server may have forgotten the last writes that it has acknowledged, and is another one now. Removals of the
    /// last minute are replayed by those who made them.
    pub(crate) fn forgotten(&self, run: u64) {
        let mut state = self.state();
        state.tick();
        let State {
            removals,
            processes,
            ..
        } = &mut *state;
        for removal in removals {
            if !matches!(removal.others, Others::NotYet) {
                let process = &processes[removal.process];
                let losses = process.losses + u64::from(process.trusts());
                removal.others = Others::AtTrust { losses, run };
            }
        }
    }
}

impl State {
    /// The next moment; a good one to see who trusts the server again.
    fn tick(&mut self) -> Order {
        self.order += 1;
        let order = self.order;
        for process in &mut self.processes {
            let trusts = process.trusts();
            if !std::mem::replace(&mut process.trusted, trusts) && trusts {
                self.last_recovery = order;
                process.recovered = true;
                process.recovered_at = Some(Instant::now());
            }
        }
        // What was written without an answer has been replayed as a removal.
        for load in &mut self.loads {
            if load.origin == Origin::Set
                && load.ended.is_some()
                && load.clean.is_none()
                && self.processes[load.process].recovered
            {
                load.clean = Some(order);
            }
        }
        for process in &mut self.processes {
            process.recovered = false;
        }
        for removal in &mut self.removals {
            if let Others::AtTrust { losses, run } = removal.others {
                let process = &self.processes[removal.process];
                if process.losses >= losses && process.run >= run && process.trusts() {
                    removal.others = Others::From(order, Instant::now());
                }
            }
        }
        order
    }

    fn note(&mut self, key: Option<KeyNo>, text: impl FnOnce() -> String) {
        let (order, at) = (self.order, self.begun.elapsed());
        if let Some(trace) = &mut self.trace {
            trace.push((key, format!("{order:>6} {at:>12?}  {}", text())));
        }
    }

    fn complain(&mut self, key: Option<KeyNo>, text: String) {
        self.note(key, || format!("VIOLATION {text}"));
        self.violations.push(text);
    }
}

impl Process {
    fn trusts(&self) -> bool {
        self.cache
            .as_ref()
            .is_some_and(|cache| cache.health().serving == Serving::Backend)
    }
}

impl Look {
    pub(crate) fn called(&self) -> (Order, Instant) {
        (self.began, self.began_at)
    }
}
