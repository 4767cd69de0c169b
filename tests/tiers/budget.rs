//! What the first caller pays who finds out that the backend is away: one budget, and not each operation's own deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dexter_cache::backend::{
    CacheBackend, Capabilities, KeyFilter, MemoryBackend, Pong, RedisBackend, RedisConfig,
    SetOutcome, When,
};
use dexter_cache::{Cache, Error, KeyPattern, Reach, Serving};
use support::{Proxy, RedisServer};
use tokio::time::{Instant, sleep};

use crate::{LEASE, MINUTE, build, key, ready, soon, until_back};

const BUDGET: Duration = Duration::from_millis(100);

const CALLS: [&str; 8] = [
    "load",
    "get",
    "get_many",
    "set",
    "remove",
    "remove_many",
    "invalidate",
    "clear",
];

/// Makes one call. What it finds, and how far a removal reaches, is for the caller to say.
async fn call(cache: &Cache, what: &str) -> Option<Reach> {
    let key = key("first", 1);
    let removed = match what {
        "load" => {
            cache.get_or_load(&key, MINUTE, || async { 1_u32 }).await;
            return None;
        }
        "get" => {
            cache.get::<u32>(&key).await.unwrap();
            return None;
        }
        "get_many" => {
            let keys = [key.clone(), key.clone()];
            cache.get_many::<u32>(&keys).await.unwrap();
            return None;
        }
        "set" => {
            cache.set(&key, &2_u32, MINUTE).await.unwrap();
            return None;
        }
        "remove" => cache.remove(&key).await,
        "remove_many" => cache.remove_many(std::slice::from_ref(&key)).await,
        "invalidate" => cache.invalidate(&KeyPattern::new("first:*")).await,
        _ => cache.clear().await,
    };
    Some(removed.unwrap().reach)
}

/// The backend's own deadlines are out of sight: whatever ends, ends by the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_waits_for_a_deadline_of_the_backend() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let config = RedisConfig::parse(&proxy.url()).unwrap();
    let backend = RedisBackend::new(config.sweep_timeout(LEASE));
    let cache = ready(Cache::builder().backend(backend).budget(BUDGET)).await;
    for what in CALLS {
        until_back(&cache).await;
        proxy.hang_new();
        proxy.freeze_existing();
        // What it comes to is asserted below, where nothing but the test changes the state.
        soon(what, call(&cache, what)).await;
        proxy.thaw();
        proxy.accept_new();
    }
}

/// A backend in memory whose operations take their time, or never end.
#[derive(Debug)]
struct Slow {
    inner: MemoryBackend,
    step: Duration,
    hangs: Arc<Hangs>,
}

#[derive(Debug, Default)]
struct Hangs {
    all: AtomicBool,
    /// What changes something, and nothing else.
    changes: AtomicBool,
    /// How many seconds a sweep takes, and how many there were.
    sweep_takes: AtomicU64,
    sweeps: AtomicU64,
}

impl Slow {
    async fn step(&self) {
        sleep(self.step).await;
        if self.hangs.all.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn change(&self) {
        self.step().await;
        if self.hangs.changes.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl CacheBackend for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.step().await;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        self.step().await;
        self.inner.get_many(keys).await
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        self.change().await;
        self.inner.set(key, value, ttl, when).await
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        self.change().await;
        self.inner.remove(keys).await
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        self.change().await;
        self.hangs.sweeps.fetch_add(1, Ordering::SeqCst);
        let takes = self.hangs.sweep_takes.load(Ordering::SeqCst);
        sleep(Duration::from_secs(takes)).await;
        self.inner.remove_matching(pattern, filter).await
    }

    async fn ping(&self) -> Result<Pong, Error> {
        self.step().await;
        self.inner.ping().await
    }
}

async fn slow(step: Duration, budget: Duration) -> (Cache, Arc<Hangs>) {
    let hangs = Arc::<Hangs>::default();
    let backend = Slow {
        inner: MemoryBackend::new(1_000),
        step,
        hangs: Arc::clone(&hangs),
    };
    let builder = Cache::builder().backend(backend).budget(budget);
    let cache = build(builder.lease_ttl(LEASE).follow_timeout(LEASE)).await;
    assert_eq!(cache.health().serving, Serving::Backend);
    (cache, hangs)
}

/// Time is simulated here: it passes where all wait, and only then.
#[tokio::test(start_paused = true)]
async fn scar_4_every_kind_of_call_pays_one_budget_at_most_and_later_ones_nothing() {
    for what in CALLS {
        let (cache, hangs) = slow(Duration::ZERO, BUDGET).await;
        hangs.all.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let callers = (0..64).map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { call(&cache, what).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            let reach = caller.await.unwrap();
            assert!(
                reach.is_none_or(|reach| reach == Reach::Journaled),
                "{what}"
            );
        }
        let paid = begun.elapsed();
        assert!(paid <= BUDGET + TICK, "{what} paid {paid:?}");
        assert_eq!(cache.health().serving, Serving::Memory);
        let begun = Instant::now();
        call(&cache, what).await;
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "{what}: it is known by now"
        );
    }
}

/// The granularity of the runtime's timers.
const TICK: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn scar_5_all_operations_of_a_load_share_one_budget() {
    // A look and a lease are two steps: the second one has what the first one has left.
    for percent in [10, 40, 60, 90] {
        let (cache, _) = slow(BUDGET * percent / 100, BUDGET).await;
        let begun = Instant::now();
        cache
            .get_or_load(&key("first", 1), MINUTE, || async { 1_u32 })
            .await;
        let paid = begun.elapsed();
        assert!(
            paid <= BUDGET + TICK,
            "two steps of {percent} % each: {paid:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_allows_a_call_more_than_a_ping_usually_takes_is_not_cut_off_by_a_slow_ping() {
    let (cache, _) = slow(Duration::from_millis(600), Duration::from_secs(2)).await;
    for _ in 0..300 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(cache.health().serving, Serving::Backend);
    }
}

/// Neither the store nor two attempts to give the lease back are answered, while others' reads are.
#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_given_back_is_written_down() {
    let (cache, hangs) = slow(Duration::ZERO, BUDGET).await;
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move {
            loop {
                cache.get::<u32>(&key("other", 1)).await.unwrap();
                sleep(TICK).await;
            }
        }
    });
    let first = key("first", 1);
    let load = || async {
        hangs.changes.store(true, Ordering::SeqCst);
        1_u32
    };
    cache.get_or_load(&first, MINUTE, load).await;
    crate::until("it is written down", || cache.health().journaled > 0).await;
    hangs.changes.store(false, Ordering::SeqCst);
    until_back(&cache).await;
    let next = cache.get_or_load(&first, MINUTE, || async { 2_u32 });
    soon("a caller waits for a lease of nobody", next).await;
    reader.abort();
}

/// Each replay of a pattern takes a hundred times as long as it takes until the next one has to be replayed.
#[tokio::test(start_paused = true)]
async fn a_recovery_ends_although_removals_keep_coming() {
    let step = Duration::from_millis(50);
    let (cache, hangs) = slow(step, Duration::from_millis(250)).await;
    let kept = key("kept", 1);
    cache.set(&kept, &1_u32, MINUTE).await.unwrap();
    hangs.all.store(true, Ordering::SeqCst);
    cache.clear().await.unwrap();
    crate::until_lost(&cache).await;
    let writer = tokio::spawn({
        let cache = cache.clone();
        async move {
            for id in 0_u64.. {
                let pattern = KeyPattern::new(format!("first:id={}*", id % 7));
                if cache.health().serving == Serving::Memory {
                    cache.invalidate(&pattern).await.unwrap();
                }
                sleep(step / 100).await;
            }
        }
    });
    sleep(Duration::from_secs(1)).await;
    hangs.all.store(false, Ordering::SeqCst);
    until_back(&cache).await;
    assert_eq!(cache.get::<u32>(&kept).await.unwrap(), None);
    writer.abort();
    crate::until("everything is replayed", || cache.health().journaled == 0).await;
    assert_eq!(cache.health().serving, Serving::Backend);
}

/// No single sweep takes as long as a guardian that stands still is waited for, and all of them take longer.
#[tokio::test(start_paused = true)]
async fn a_long_replay_is_done_by_one_guardian() {
    let (cache, hangs) = slow(Duration::ZERO, BUDGET).await;
    hangs.all.store(true, Ordering::SeqCst);
    for id in 0..5 {
        let pattern = KeyPattern::new(format!("first:id={id}*"));
        cache.invalidate(&pattern).await.unwrap();
    }
    assert_eq!(cache.health().serving, Serving::Memory);
    hangs.sweep_takes.store(15, Ordering::SeqCst);
    hangs.sweeps.store(0, Ordering::SeqCst);
    hangs.all.store(false, Ordering::SeqCst);
    while cache.health().serving == Serving::Memory {
        // Each caller makes sure that a guardian is there.
        cache.get::<u32>(&key("first", 1)).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(hangs.sweeps.load(Ordering::SeqCst), 5);
}
