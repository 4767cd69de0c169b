//! One seed: two or three processes at work on one server, to which things happen.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::test_util::TestClock;
use dexter_cache::{Cache, CacheBuilder, Key, Serving};
use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};

use crate::guards::Off;
use crate::report::{BLACKHOLE, FAULTS, FaultKind, Totals};
use crate::sim::{EPOCH_MS, Mood, Sent, SimBackend, SimServer};
use crate::work::Worker;
use crate::world::{Kept, KeyNo, Order, Origin, Trace, World};

/// Keys, of two prefixes in turn.
pub(crate) const KEYS: usize = 6;
const HOUR_MS: i64 = 3_600_000;
/// By when everything has to be well again, once nothing is broken any more.
const RECOVERY: Duration = Duration::from_secs(45);

/// What a seed came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Trace,
    pub(crate) totals: Totals,
}

/// What one seed is about.
pub(crate) struct Plan {
    pub(crate) processes: usize,
    pub(crate) workers: usize,
    pub(crate) operations: usize,
    pub(crate) pause: Duration,
    pub(crate) slow_loads: bool,
    fallback_ttl: Duration,
    lease_ttl: Duration,
    capacity: usize,
    clocks: [i64; 4],
    latency: Duration,
    scan_step: usize,
    faults: usize,
    pub(crate) tagging: Option<Tagging>,
    tiered: bool,
    /// The server tells of changes.
    tells: bool,
    pub(crate) stale: Option<Stale>,
}

/// Who says which tag a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tagging {
    Call,
    Load,
}

/// How keys are kept past their time, in seeds where some are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stale {
    pub(crate) window: Duration,
    pub(crate) throttle: Duration,
    /// All who call share errors: then a stale value never answers unasked.
    pub(crate) asked: bool,
}

impl Plan {
    fn draw(rng: &mut Rng, keeps_stale: bool) -> Self {
        let skewed = rng.bool();
        let mut clock = || match (skewed, rng.u8(..3)) {
            (true, 0) => -HOUR_MS,
            (true, 1) => HOUR_MS,
            _ => 0,
        };
        let clocks = [clock(), clock(), clock(), clock()];
        let mut plan = Self {
            processes: 2 + usize::from(rng.u8(..3) == 0),
            workers: rng.usize(2..=3),
            operations: rng.usize(12..=24),
            pause: Duration::from_millis([5, 60, 200][rng.usize(..3)]),
            slow_loads: rng.bool(),
            fallback_ttl: Duration::from_millis([1_000, 5_000, 30_000][rng.usize(..3)]),
            lease_ttl: Duration::from_millis([500, 10_000][rng.usize(..2)]),
            capacity: [3, 1_000][rng.usize(..2)],
            clocks,
            latency: Duration::from_micros([300, 3_000, 12_000][rng.usize(..3)]),
            scan_step: rng.usize(1..=4),
            faults: [0, 1, 1, 2, 3, 4][rng.usize(..6)],
            tagging: [None, None, Some(Tagging::Call), Some(Tagging::Load)][rng.usize(..4)],
            tiered: rng.bool(),
            tells: rng.u8(..6) != 0,
            stale: None,
        };
        if keeps_stale {
            plan.pause = Duration::from_millis([60, 200, 400][rng.usize(..3)]);
            plan.stale = Some(Stale {
                window: Duration::from_millis([300, 2_000, 20_000][rng.usize(..3)]),
                throttle: Duration::from_millis([100, 700, 3_000][rng.usize(..3)]),
                asked: rng.bool(),
            });
            // Where nothing goes wrong, more can be said.
            if rng.u8(..3) == 0 {
                plan.faults = 0;
            }
        }
        plan
    }
}

/// The key number `no`.
pub(crate) fn key(no: KeyNo) -> Key {
    Key::new(["row", "list"][no % 2]).part("id", &no)
}

/// Runs one seed to its end. The same seed does the same.
pub(crate) async fn run(seed: u64, off: Option<Off>, trace: bool) -> Outcome {
    // The library draws jitter, tokens and delays from the generator of the thread.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed ^ 0xD0E5_7E12);
    let plan = Arc::new(Plan::draw(&mut rng, seed % 2 == 1));
    let world = World::new(KEYS, plan.processes, plan.fallback_ttl, plan.tiered, trace);
    if plan.tells {
        world.changes_are_told();
    }
    if plan.stale.is_some_and(|stale| stale.asked) {
        world.all_ask();
    }
    let server = SimServer::new(rng.u64(..), plan.scan_step, plan.latency);
    server.skew_clock(plan.clocks[3]);
    if !plan.tells {
        server.keep_silent();
    }
    if off == Some(Off::ConnectionKill) {
        server.forget_to_kill();
    }
    let mut caches = Vec::new();
    for process in 0..plan.processes {
        let cache = start(&plan, &world, &server, process, off).await;
        world.enlist(process, &cache);
        caches.push(cache);
    }
    let mut tasks = Vec::new();
    for (process, cache) in caches.iter().enumerate() {
        for _ in 0..plan.workers {
            let worker = Worker {
                process,
                cache: cache.clone(),
                world: Arc::clone(&world),
                plan: Arc::clone(&plan),
                rng: Rng::with_seed(rng.u64(..)),
            };
            tasks.push(tokio::spawn(worker.work()));
        }
    }
    misfortune(&plan, &world, &server, &mut rng).await;
    for task in tasks {
        if let Err(panic) = task.await {
            world.complain(format!("a call panics: {panic}"));
        }
    }
    server.heal();
    settle(&world, &caches).await;
    world.all_is_done();
    read_everything(&world, &caches, plan.capacity).await;
    for (process, cache) in caches.iter().enumerate() {
        if !cache.close().await {
            world.complain(format!("not idle: p{process} is closed with work left"));
        }
    }
    world.count(|totals| totals.seeds += 1);
    let (violations, trace, totals) = world.end();
    Outcome {
        violations,
        trace,
        totals,
    }
}

async fn start(
    plan: &Plan,
    world: &Arc<World>,
    server: &SimServer,
    process: usize,
    off: Option<Off>,
) -> Cache {
    let clock = TestClock::tokio();
    clock.set_wall_ms(EPOCH_MS.saturating_add_signed(plan.clocks[process]));
    let observer = Arc::clone(world);
    let backend = SimBackend::new(server.clone(), process, observer);
    let builder: CacheBuilder = Cache::builder()
        .backend(backend)
        .namespace("model")
        .clock(&clock)
        .memory_capacity(plan.capacity)
        .fallback_ttl(plan.fallback_ttl)
        .lease_ttl(plan.lease_ttl);
    let builder = if plan.tiered {
        builder.tiered()
    } else {
        builder
    };
    let builder = match off {
        Some(off) => off.of(builder),
        None => builder,
    };
    builder.build().await.expect("good options")
}

/// Lets things happen while the workers work.
async fn misfortune(plan: &Plan, world: &World, server: &SimServer, rng: &mut Rng) {
    for _ in 0..plan.faults {
        sleep(Duration::from_millis(rng.u64(..1_200))).await;
        let mut process = rng.usize(..plan.processes);
        let upon = match rng.u8(..10) {
            0 => Some(Sent::Lease),
            1 => Some(Sent::Fill),
            2 | 3 => Some(Sent::Set),
            4 | 5 => Some(Sent::Scan),
            6 | 7 => Some(Sent::Remove),
            _ => None,
        };
        if let Some(kind) = upon {
            // While just that is under way.
            let sent = timeout(Duration::from_millis(300), server.until_sent(kind)).await;
            process = sent.unwrap_or(process);
        }
        // A connection that is cut off comes about in more ways than the others.
        let which = rng.usize(..FAULTS.len() + 3);
        let which = if which < FAULTS.len() {
            which
        } else {
            BLACKHOLE
        };
        let kind = FAULTS[which];
        world.count(|totals| totals.faults[which] += 1);
        world.fault_begins();
        world.note(None, || format!("fault: {kind:?}"));
        strike(world, server, rng, kind, process).await;
        world.note(None, || "fault over".to_owned());
    }
}

async fn strike(world: &World, server: &SimServer, rng: &mut Rng, kind: FaultKind, process: usize) {
    let moment = Duration::from_millis(rng.u64(..1_500));
    let mood = |mood| async move {
        server.mood(mood);
        sleep(moment).await;
        server.mood(Mood::Well);
    };
    match kind {
        FaultKind::Kill => {
            // It comes back with all it had, as one that writes down every command.
            server.kill();
            sleep(moment).await;
            server.restart_whole();
        }
        FaultKind::Freeze => {
            server.freeze();
            sleep(moment).await;
            server.thaw();
        }
        FaultKind::Blackhole => {
            server.blackhole(process, Duration::from_millis(rng.u64(200..4_000)));
        }
        FaultKind::RestartEmpty => {
            server.kill();
            sleep(moment).await;
            server.restart_empty();
        }
        FaultKind::RestartSnapshot => {
            server.save();
            sleep(moment).await;
            server.kill();
            sleep(moment).await;
            server.restart_from_snapshot();
        }
        FaultKind::Promote => {
            let lacking = rng.usize(..24);
            world.note(None, || format!("a replica that lacks {lacking} writes"));
            if rng.bool() {
                server.kill();
                sleep(moment).await;
            }
            server.promote(lacking);
            world.forgotten(server.run());
        }
        FaultKind::ReadOnly => mood(Mood::ReadOnly).await,
        FaultKind::OutOfMemory => mood(Mood::OutOfMemory).await,
        FaultKind::Loading => mood(Mood::Loading).await,
        FaultKind::LoseReply => server.lose_reply(process),
    }
}

/// Waits until every process trusts the server, and what was late has come.
async fn settle(world: &World, caches: &[Cache]) {
    // Longer than it takes to notice the last fault, and than anything is late.
    sleep(Duration::from_millis(4_500)).await;
    let well = async {
        while !caches.iter().all(|cache| {
            let health = cache.health();
            health.serving == Serving::Backend && health.journaled == 0
        }) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(RECOVERY, well).await.is_err() {
        let health: Vec<_> = caches.iter().map(Cache::health).collect();
        world.complain(format!(
            "not well {RECOVERY:?} after the last fault: {health:?}"
        ));
    }
}

/// Each process looks at every key, when all is quiet.
async fn read_everything(world: &Arc<World>, caches: &[Cache], capacity: usize) {
    for (process, cache) in caches.iter().enumerate() {
        if cache.stats().entries > 3 * capacity as u64 {
            world.complain(format!("p{process} keeps more than {capacity} entries"));
        }
        for no in 0..KEYS {
            let look = world.look(process, no, false);
            match cache.get(&key(no)).await {
                Ok(Some(value)) => world.judge("last get", &look, value, false),
                Ok(None) => world.missed("last get", &look),
                Err(error) => world.complain(format!("a get fails: {error}")),
            }
        }
    }
}

/// A load, until it ends or its caller goes.
pub(crate) struct Running {
    world: Arc<World>,
    number: usize,
    ended: bool,
}

impl Running {
    pub(crate) fn begin(
        world: &Arc<World>,
        process: usize,
        no: KeyNo,
        origin: Origin,
        called: (Order, Instant),
        kept: Kept,
    ) -> Self {
        Self {
            number: world.load_begins(process, no, origin, called, kept),
            world: Arc::clone(world),
            ended: false,
        }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn end(mut self, failed: bool) {
        self.ended = true;
        self.world
            .load_ends(self.number, if failed { "fails" } else { "ends" }, failed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.world.load_ends(self.number, "is dropped", true);
        }
    }
}
