//! What has happened in all processes, in one order, and what may be answered after it. The clauses are those of the
//! check on a simulated server, in `tests/model`.

mod clauses;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::report::{Totals, Trace};
use crate::wire::{Covers, Event, KEYS, Kind, Origin, Said, Value, WORK};

/// By when a process has been told of a removal by another one, in `tiered` mode.
const LIVENESS: Duration = Duration::from_millis(2_500);
/// By how much a machine that is busy may be late with anything.
const SLACK: Duration = Duration::from_millis(500);

type Order = u64;

#[derive(Debug)]
struct Load {
    key: usize,
    process: usize,
    origin: Origin,
    began: Order,
    ended: Option<(Order, Instant)>,
    /// Of a set: the server has acknowledged it.
    clean: bool,
}

#[derive(Debug)]
struct Removal {
    process: usize,
    covers: Covers,
    kind: Kind,
    began: Order,
    returned: Option<Order>,
    others: Others,
}

/// From when on the other processes have to follow.
#[derive(Debug, Clone, Copy)]
enum Others {
    NotYet,
    From(Order, Instant),
    /// When its process has replayed what it has written down.
    AtReplay,
}

#[derive(Debug)]
struct Call {
    process: usize,
    key: usize,
    joins: bool,
    began: Order,
    began_at: Instant,
    ended: Option<Order>,
    trusted: bool,
    recoveries: u64,
}

#[derive(Debug, Clone, Default)]
struct Process {
    trusts: bool,
    recoveries: u64,
    journaled: usize,
    idle: bool,
    done: bool,
    /// When it was last stopped, and let go on.
    stopped: Option<(Instant, Option<Instant>)>,
}

#[derive(Debug)]
pub(crate) struct Judge {
    state: Mutex<State>,
    phase: AtomicU8,
}

/// What a seed is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) tiered: bool,
    pub(crate) budget: Duration,
    pub(crate) fallback_ttl: Duration,
}

#[derive(Debug)]
struct State {
    terms: Terms,
    order: Order,
    begun: Instant,
    versions: Vec<u64>,
    loads: Vec<Load>,
    removals: Vec<Removal>,
    calls: Vec<Call>,
    processes: Vec<Process>,
    totals: Totals,
    trace: Trace,
    violations: Vec<String>,
}

impl Judge {
    pub(crate) fn new(terms: Terms, processes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                terms,
                order: 0,
                begun: Instant::now(),
                versions: vec![1; KEYS],
                loads: Vec::new(),
                removals: Vec::new(),
                calls: Vec::new(),
                processes: vec![Process::default(); processes],
                totals: Totals::default(),
                trace: Vec::new(),
                violations: Vec::new(),
            }),
            phase: AtomicU8::new(WORK),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }

    pub(crate) fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::SeqCst);
    }

    pub(crate) fn note(&self, text: &str) {
        self.state().note(None, || text.to_owned());
    }

    pub(crate) fn complain(&self, text: String) {
        self.state().complain(None, text);
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Totals)) {
        count(&mut self.state().totals);
    }

    pub(crate) fn stopped(&self, process: usize) {
        self.state().processes[process].stopped = Some((Instant::now(), None));
    }

    pub(crate) fn goes_on(&self, process: usize) {
        if let Some((_, end)) = &mut self.state().processes[process].stopped {
            *end = Some(Instant::now());
        }
    }

    /// Whether no call is under way, every process trusts the server and has replayed what it had written down.
    pub(crate) fn is_well(&self) -> bool {
        let state = self.state();
        let well = |of: &Process| of.idle && of.trusts && of.journaled == 0;
        state.processes.iter().all(well)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state().processes.iter().all(|of| of.done)
    }

    pub(crate) fn has_done(&self, process: usize) -> bool {
        self.state().processes[process].done
    }

    pub(crate) fn standing(&self) -> String {
        format!("{:?}", self.state().processes)
    }

    pub(crate) fn end(&self) -> (Totals, Vec<String>, Trace) {
        let mut state = self.state();
        let (violations, trace) = (
            std::mem::take(&mut state.violations),
            std::mem::take(&mut state.trace),
        );
        (std::mem::take(&mut state.totals), violations, trace)
    }

    /// Takes down what a process says, and answers.
    pub(crate) fn hear(&self, process: usize, said: &Said) -> u64 {
        let mut state = self.state();
        let order = state.tick(process, said);
        state.take_down(process, order, said)
    }
}

impl State {
    /// The next moment.
    fn tick(&mut self, process: usize, said: &Said) -> Order {
        self.order += 1;
        let of = &mut self.processes[process];
        let before = std::mem::replace(&mut of.trusts, said.trusts);
        let recoveries = std::mem::replace(&mut of.recoveries, said.recoveries);
        of.journaled = said.journaled;
        if (before, recoveries) != (said.trusts, said.recoveries) {
            self.note(None, || {
                let (trusts, recoveries) = (said.trusts, said.recoveries);
                format!("p{process} trusts the server: {trusts}, recoveries: {recoveries}")
            });
        }
        if said.has_replayed() {
            let now = Others::From(self.order, Instant::now());
            for removal in &mut self.removals {
                if removal.process == process && matches!(removal.others, Others::AtReplay) {
                    removal.others = now;
                }
            }
        }
        self.order
    }

    fn take_down(&mut self, process: usize, order: Order, said: &Said) -> u64 {
        match &said.event {
            Event::Hello { .. } => {}
            Event::Writes { covers } => {
                for (key, version) in self.versions.iter_mut().enumerate() {
                    *version += u64::from(has(*covers, key));
                }
                return self.versions[covers.trailing_zeros() as usize];
            }
            Event::Reads { key } => return self.versions[*key],
            Event::LoadBegins { key, origin } => {
                self.totals.loads += u64::from(*origin == Origin::Load);
                let number = self.loads.len();
                self.loads.push(Load {
                    key: *key,
                    process,
                    origin: *origin,
                    began: order,
                    ended: None,
                    clean: false,
                });
                self.note(Some(*key), || {
                    format!("p{process} load {number} of k{key} begins ({origin:?})")
                });
                return number as u64;
            }
            Event::LoadEnds { load, how } => {
                let key = self.loads[*load].key;
                self.loads[*load].ended = Some((order, Instant::now()));
                self.loads[*load].clean = said.trusts;
                self.note(Some(key), || format!("p{process} load {load} {how}"));
            }
            Event::RemovalBegins { covers, kind, what } => {
                return self.removal_begins(process, order, *covers, *kind, what);
            }
            Event::RemovalReturns { removal, applied } => {
                self.removal_returns(*removal, order, *applied, said.has_replayed());
            }
            Event::CallBegins { key, joins } => {
                self.totals.calls += 1;
                self.calls.push(Call {
                    process,
                    key: *key,
                    joins: *joins,
                    began: order,
                    began_at: Instant::now(),
                    ended: None,
                    trusted: said.trusts,
                    recoveries: said.recoveries,
                });
                return (self.calls.len() - 1) as u64;
            }
            Event::CallEnds { call, what, value } => {
                self.call_ends(*call, order, what, *value, said);
            }
            Event::Took { what, micros } => {
                let took = Duration::from_micros(*micros);
                if !self.was_stopped(process, took) {
                    self.totals.took(what, took);
                }
            }
            Event::Fails { text } => self.complain(None, format!("clause (d): p{process} {text}")),
            Event::Pulse { idle } => self.processes[process].idle = *idle,
            Event::Done => self.processes[process].done = true,
        }
        order
    }

    fn removal_begins(
        &mut self,
        process: usize,
        began: Order,
        covers: Covers,
        kind: Kind,
        what: &str,
    ) -> u64 {
        if kind == Kind::Removal {
            self.totals.invalidations += 1;
            let under_way = |load: &Load| load.ended.is_none() && has(covers, load.key);
            self.totals.met_a_load += u64::from(self.loads.iter().any(under_way));
        }
        let number = self.removals.len();
        self.removals.push(Removal {
            process,
            covers,
            kind,
            began,
            returned: None,
            others: Others::NotYet,
        });
        self.note(only(covers), || {
            format!("p{process} {what} {number} of {covers:b} begins")
        });
        number as u64
    }

    fn removal_returns(
        &mut self,
        number: usize,
        order: Order,
        applied: Option<bool>,
        replayed: bool,
    ) {
        let removal = &mut self.removals[number];
        removal.returned = Some(order);
        if removal.kind == Kind::Removal {
            removal.others = match applied {
                None => Others::NotYet,
                Some(false) if !replayed => Others::AtReplay,
                Some(_) => Others::From(order, Instant::now()),
            };
        }
        self.totals.journaled += u64::from(applied == Some(false));
        let covers = self.removals[number].covers;
        self.note(only(covers), || {
            let how = match applied {
                Some(true) => "applied",
                Some(false) => "journaled",
                None => "over",
            };
            format!("removal {number} is {how}")
        });
    }

    fn call_ends(
        &mut self,
        number: usize,
        order: Order,
        what: &str,
        value: Option<Value>,
        said: &Said,
    ) {
        self.calls[number].ended = Some(order);
        let (process, key, began) = {
            let call = &self.calls[number];
            (call.process, call.key, call.began)
        };
        let Some(value) = value else { return };
        self.note(Some(key), || {
            let Value { version, load, .. } = value;
            format!(
                "p{process} {what} of k{key} begun at {began} gives version {version} of load {load}"
            )
        });
        let known = self
            .loads
            .get(value.load)
            .is_some_and(|load| load.key == key);
        if value.key != key || !known || value.version > self.versions[key] {
            self.complain(
                Some(key),
                format!("p{process} {what} of k{key} gives {value:?}"),
            );
            return;
        }
        let call = &self.calls[number];
        let load = &self.loads[value.load];
        self.totals.hits += u64::from(load.began < began);
        let lost = !call.trusted || !said.trusts || call.recoveries != said.recoveries;
        let mut binding = false;
        let mut broken = None;
        for removal in &self.removals {
            let Some(clause) = self.binds(removal, call, load, lost) else {
                continue;
            };
            binding |= removal.process != process;
            if removal.came_after(load) && broken.is_none() {
                broken = Some((clause, removal.process, removal.began));
            }
        }
        self.totals.bound += u64::from(binding);
        if let Some((clause, remover, at)) = broken {
            let text = format!(
                "clause {clause}: p{process} {what} of k{key}, begun at {began}, gives version {} of load {}, begun at {}, \
                 after a removal by p{remover} begun at {at}",
                value.version, value.load, self.loads[value.load].began
            );
            self.complain(Some(key), text);
        }
    }

    fn was_stopped(&self, process: usize, took: Duration) -> bool {
        self.processes[process]
            .stopped
            .is_some_and(|(_, end)| end.is_none_or(|end| end.elapsed() < took + SLACK))
    }

    fn note(&mut self, key: Option<usize>, text: impl FnOnce() -> String) {
        let line = format!(
            "{:>6} {:>9.3}  {}",
            self.order,
            self.begun.elapsed().as_secs_f64(),
            text()
        );
        self.trace.push((key, line));
    }

    fn complain(&mut self, key: Option<usize>, text: String) {
        self.note(key, || format!("VIOLATION {text}"));
        self.violations.push(text);
    }
}

fn has(covers: Covers, key: usize) -> bool {
    covers & (1 << key) != 0
}

/// The key, where it is about one.
fn only(covers: Covers) -> Option<usize> {
    (covers.count_ones() == 1).then(|| covers.trailing_zeros() as usize)
}
