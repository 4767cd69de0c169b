//! What has happened, in one total order, and what may be read after it.
//!
//! The origin counts versions; a write counts one up and then removes through a cache. Each load is written down with the
//! moment at which it began, and the value that it brings carries its number, so that a reader can be asked: did the load
//! of this value begin before a removal that you had to follow?

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
/// From this long a wait on, a caller may load although somebody else does.
const LONG_WAIT: Duration = Duration::from_secs(4);

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
    /// A load that nobody joins and that joins nobody.
    Apart,
    /// A `set`.
    Set,
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
    /// Of a set: the backend has acknowledged it.
    clean: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Removal,
    /// Of a tag or of everything: a token changes, which others learn a while later.
    Token,
    /// A `set` voids loads as a removal does, in its own process.
    Set,
    /// It voids loads, and promises nothing about what is read.
    Refresh,
}

impl Kind {
    fn removes(self) -> bool {
        matches!(self, Self::Removal | Self::Token)
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
}

pub(crate) struct World {
    state: Mutex<State>,
}

struct State {
    fallback_ttl: Duration,
    /// Processes keep what they read.
    tiered: bool,
    order: Order,
    /// When a process was last seen to trust the server again.
    last_recovery: Order,
    /// When a clear, or the invalidation of a tag, last began or returned somewhere.
    last_clear: Option<Instant>,
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
                order: 0,
                last_recovery: 0,
                last_clear: None,
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
            // One that has restarted is cleared, by whom of them is elected.
            state.last_clear = Some(Instant::now());
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
        // A set is a write like any other: what was there before may be there again.
        for removal in &mut state.removals {
            if removal.kind == Kind::Set && removal.returned.is_some() {
                removal.kind = Kind::Refresh;
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
            }
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

/// Loads.
impl World {
    /// A load begins, in a call that has waited since `called`.
    pub(crate) fn load_begins(
        &self,
        process: usize,
        key: KeyNo,
        origin: Origin,
        called: (Order, Instant),
    ) -> usize {
        let mut state = self.state();
        let began = state.tick();
        let number = state.loads.len();
        if origin == Origin::Load {
            state.totals.loads += 1;
            if called.1.elapsed() < LONG_WAIT
                && let Some(other) = state.twin(process, key, called.0)
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
            clean: false,
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
        let (process, key) = (load.process, load.key);
        state.note(Some(key), || format!("p{process} load {number} {how}"));
    }

    /// A set has returned; whether the server has it is known by whether its process still trusts it.
    pub(crate) fn set_ends(&self, number: usize) {
        {
            let mut state = self.state();
            let process = state.loads[number].process;
            let clean = state.processes[process].trusts();
            state.loads[number].clean = clean;
        }
        self.load_ends(number, "is set", false);
    }
}

impl State {
    /// Another load of the key in the process that a new one should have joined.
    fn twin(&self, process: usize, key: KeyNo, called: Order) -> Option<usize> {
        let here = |load: &Load| load.process == process && load.key == key;
        let running = self
            .loads
            .iter()
            .rposition(|load| here(load) && load.origin == Origin::Load && load.ended.is_none())?;
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
            .last_clear
            .is_some_and(|at| at + LIVENESS * 2 > self.loads[running].began_at);
        (!voided && !failed && !replayed && !cleared).then_some(running)
    }
}

/// Removals.
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
        if kind == Kind::Token {
            state.last_clear = Some(Instant::now());
        }
        state.removals.push(Removal {
            process,
            covers,
            kind,
            began,
            returned: None,
            others: Others::NotYet,
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
        let is_clear = removal.kind == Kind::Token;
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
            state.last_clear = Some(now);
        }
        if reach == Some(Reach::Journaled) {
            state.totals.journaled += 1;
        }
        state.note(key, || {
            format!("p{process} removal of {covers:b} begun at {began} returns: {reach:?}")
        });
    }
}

impl Look {
    pub(crate) fn called(&self) -> (Order, Instant) {
        (self.began, self.began_at)
    }
}

/// Reads.
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
