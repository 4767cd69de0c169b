//! 64 callers and a few writers that go on whatever happens to the backend.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dexter_cache::backend::{RedisBackend, RedisConfig};
use dexter_cache::{Cache, CacheBuilder, Error, Key, Serving};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::report::Report;
use super::world::{Row, Seen, World, random};
use crate::{BOUND, LEASE, MINUTE, build, patient_builder, ready, until, until_back, until_lost};

const CALLERS: usize = 64;
const WRITERS: usize = 6;
const CAPACITY: u16 = 300;
/// What a step of a recovery may take.
const RECOVERY: Duration = Duration::from_secs(3);
const NAMESPACE: &str = "drill";
/// Long enough that a call which pays it twice is told from one that pays it once on a machine that has more to do.
pub(super) const BUDGET: Duration = Duration::from_secs(3);

/// Callers and writers at work on one cache.
pub(super) struct Drill {
    pub(super) cache: Cache,
    pub(super) world: Arc<World>,
    team: Arc<Team>,
    tasks: Vec<JoinHandle<()>>,
    /// Where L1 is in front of Redis.
    namespace: Option<&'static str>,
}

/// Whether writers clear the cache now and then, which also makes good what the journal of single keys would miss.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clears {
    None,
    Some,
}

pub(super) struct Team {
    pub(super) cache: Cache,
    pub(super) world: Arc<World>,
    pub(super) report: Report,
    pub(super) clears: Clears,
    pub(super) stop: AtomicBool,
}

impl Drill {
    /// Begins on a cache with a small memory, and with all defaults but those that would end a wait for a lease of nobody
    /// before somebody notices, that would keep a busy machine from recovering, or that would be lost in its noise.
    pub(super) async fn begin(url: &str) -> Self {
        Self::begin_with(url, Clears::Some).await
    }

    pub(super) async fn begin_with(url: &str, clears: Clears) -> Self {
        let config = RedisConfig::parse(url).expect("a good address");
        let config = config.connect_timeout(RECOVERY).sweep_timeout(RECOVERY);
        let builder = Cache::builder()
            .backend(RedisBackend::new(config))
            .budget(BUDGET)
            .lease_ttl(LEASE);
        Self::begin_on(builder.follow_timeout(LEASE), clears).await
    }

    pub(super) async fn begin_on(builder: CacheBuilder, clears: Clears) -> Self {
        let cache = build(builder.memory_capacity(CAPACITY.into())).await;
        let drill = Self::go_on(cache, Arc::new(World::new()), clears);
        drill.calls(500).await;
        drill
    }

    /// Begins on a cache with L1 in front of Redis.
    pub(super) async fn begin_tiered(url: &str, clears: Clears) -> Self {
        let builder = Cache::builder().redis(url).namespace(NAMESPACE).tiered();
        let builder = builder.budget(BUDGET).lease_ttl(LEASE);
        let builder = builder.follow_timeout(LEASE);
        let mut drill = Self::begin_on(builder, clears).await;
        drill.namespace = Some(NAMESPACE);
        drill
    }

    /// Begins on a cache that has been used before, and holds to what was removed then.
    pub(super) fn go_on(cache: Cache, world: Arc<World>, clears: Clears) -> Self {
        let team = Arc::new(Team {
            cache: cache.clone(),
            world: Arc::clone(&world),
            report: Report::default(),
            clears,
            stop: AtomicBool::new(false),
        });
        let mut tasks = vec![spawn(&team, |team| async move { team.weigh().await })];
        tasks.extend((0..CALLERS).map(|_| spawn(&team, |team| async move { team.call().await })));
        tasks.extend((0..WRITERS).map(|_| spawn(&team, |team| async move { team.write().await })));
        Self {
            cache,
            world,
            team,
            tasks,
            namespace: None,
        }
    }

    /// As [`go_on`](Self::go_on), with L1 in front of Redis.
    pub(super) fn go_on_tiered(cache: Cache, world: Arc<World>, clears: Clears) -> Self {
        Self {
            namespace: Some(NAMESPACE),
            ..Self::go_on(cache, world, clears)
        }
    }

    /// Waits until `more` calls have ended.
    pub(super) async fn calls(&self, more: u64) {
        wait_for(&self.team.report.calls, more, "calls end").await;
    }

    /// Waits until `more` writes have been made and their removals have returned.
    pub(super) async fn writes(&self, more: u64) {
        wait_for(&self.team.report.writes, more, "writers get on").await;
    }

    /// Waits until the outage is noticed, and for a good number of calls and writes during it.
    pub(super) async fn through_outage(&self) {
        until_lost(&self.cache).await;
        self.calls(1000).await;
        self.writes(60).await;
        assert_eq!(self.cache.health().serving, Serving::Memory);
    }

    /// Waits for the recovery, and for a good number of calls after it.
    pub(super) async fn through_recovery(&self) {
        until_back(&self.cache).await;
        if self.namespace.is_none() {
            until("memory is empty while Redis answers", || {
                self.cache.stats().entries == 0
            })
            .await;
        }
        self.calls(1000).await;
        self.writes(30).await;
    }

    /// Ends the work and looks at what was seen.
    pub(super) async fn end(self) {
        self.team.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            timeout(BOUND, task)
                .await
                .expect("nobody hangs")
                .expect("nobody panics");
        }
        let stores = if self.namespace.is_some() { 2 } else { 1 };
        self.team
            .report
            .assert_good(u64::from(CAPACITY) * stores, 2 * BUDGET);
    }

    /// As [`end`](Self::end), and another process must find nothing in Redis that was removed.
    pub(super) async fn end_and_read_elsewhere(self, url: &str) {
        let (cache, world) = (self.cache.clone(), Arc::clone(&self.world));
        let mut builder = patient_builder(url);
        if let Some(namespace) = self.namespace {
            builder = builder.namespace(namespace);
        }
        self.end().await;
        until_back(&cache).await;
        until("everything is replayed", || cache.health().journaled == 0).await;
        let other = ready(builder).await;
        for row in &world.0 {
            let seen: Option<Seen> = other.get(&row.key).await.expect("a read never fails");
            let floor = row.floor();
            assert!(
                seen.is_none_or(|(_, version)| version >= floor),
                "another process reads {seen:?}, removed at {floor}"
            );
        }
    }
}

async fn wait_for(count: &AtomicU64, more: u64, what: &str) {
    let end = count.load(Ordering::SeqCst) + more;
    until(what, || count.load(Ordering::SeqCst) >= end).await;
}

fn spawn<F>(team: &Arc<Team>, work: impl FnOnce(Arc<Team>) -> F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(work(Arc::clone(team)))
}

impl Team {
    pub(super) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    async fn weigh(&self) {
        while self.goes_on() {
            let entries = self.cache.stats().entries;
            self.report
                .most_entries
                .fetch_max(entries, Ordering::SeqCst);
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn call(&self) {
        while self.goes_on() {
            let row = self.world.any();
            match random(40) {
                0..=3 => self.peek(row).await,
                4..=7 => self.visit_wide().await,
                8 => {
                    // A client that does not wait for its answer.
                    let patience = Duration::from_micros(random(5_000).into());
                    let _ = timeout(patience, self.get_or_load(row)).await;
                }
                _ => self.get_or_load(row).await,
            }
            self.report.calls.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(u64::from(10 + random(10)))).await;
        }
    }

    async fn get_or_load(&self, row: &Row) {
        let floor = row.floor();
        let loading = self.cache.get_or_load(&row.key, MINUTE, || row.load());
        let seen = self.report.time(loading).await;
        self.judge("get_or_load", row, floor, seen);
    }

    async fn peek(&self, row: &Row) {
        let floor = row.floor();
        let getting = self.cache.get(&row.key);
        let found: Result<Option<Seen>, Error> = self.report.time(getting).await;
        match found {
            Ok(Some(seen)) => self.judge("get", row, floor, seen),
            Ok(None) => {}
            Err(error) => self.report.complain(format!("get: {error}")),
        }
    }

    /// More keys than memory holds.
    async fn visit_wide(&self) {
        let id = random(CAPACITY * 4);
        let wide = Key::new("wide").part("id", &id);
        let loading = self.cache.get_or_load(&wide, MINUTE, || async { id });
        let found = self.report.time(loading).await;
        if found != id {
            self.report.complain(format!("{found} under {wide}"));
        }
    }

    fn judge(&self, what: &str, row: &Row, floor: u64, (id, version): Seen) {
        if id != row.id || version < floor || version > row.version() {
            self.report.complain(format!(
                "{what} of row {} gave version {version} of row {id}; versions below {floor} were removed before it began",
                row.id
            ));
        }
    }
}
