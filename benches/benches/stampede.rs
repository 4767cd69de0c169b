//! How many loads do 1000 concurrent misses of one key cause, and when does the last caller have its answer?
//!
//! The load takes 20 ms. Four groups: it succeeds (the row `the load alone` is one caller without a cache); it fails; the caller
//! that came first is dropped after 5 ms; its load panics. Each stampede is at a key of its own, on a runtime with two threads.
//! How many loads there were for each stampede is noted beside the times.
//!
//! The rows are those whose documentation promises one load for many callers, and two of the default that does not. Where a load
//! fails, is dropped or panics, `quick_cache` and `cached` by key let the waiters load one after the other, which takes some 20 s:
//! they are left out of those groups. `multi-tier-cache` takes part in the first group only, because
//! its errors are its own; `hitbox` in none, because its waiters hang where a leader is dropped.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use benches::{ApiError, Issue, note};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use dexter_cache::{Cache, InCacheScope};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const CALLERS: usize = 1000;
const LOAD: Duration = Duration::from_millis(20);
/// When the first caller is dropped.
const DROPPED: Duration = Duration::from_millis(5);

static LOADS: AtomicU64 = AtomicU64::new(0);

type Answer = Result<Arc<Issue>, ApiError>;

/// What becomes of a load, told by the key: a function that is annotated takes nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    Fails,
    Dropped,
    Panics,
}

impl End {
    const KINDS: [Self; 4] = [Self::Well, Self::Fails, Self::Dropped, Self::Panics];

    fn of(id: u64) -> Self {
        Self::KINDS[(id % 4) as usize]
    }

    fn group(self) -> &'static str {
        match self {
            Self::Well => "stampede 1000",
            Self::Fails => "stampede 1000, the load fails",
            Self::Dropped => "stampede 1000, the first caller is dropped",
            Self::Panics => "stampede 1000, the first load panics",
        }
    }
}

async fn load(id: u64) -> Answer {
    static PANICKED: AtomicU64 = AtomicU64::new(u64::MAX);
    LOADS.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(LOAD).await;
    match End::of(id) {
        End::Fails => Err(ApiError),
        End::Panics if PANICKED.swap(id, Ordering::Relaxed) != id => panic!("a load panics"),
        _ => Ok(Arc::new(Issue::sample(id))),
    }
}

#[dexter_cache::cached(ttl = "5m", prefix = "stampede")]
async fn dexter(id: u64) -> Answer {
    load(id).await
}

#[cached::macros::cached(max_size = 100_000, ttl_secs = 300, sync_writes = "by_key")]
async fn cached_by_key(id: u64) -> Answer {
    load(id).await
}

#[cached::macros::concurrent_cached(max_size = 100_000, ttl_secs = 300)]
async fn cached_sharded(id: u64) -> Answer {
    load(id).await
}

async fn moka(id: u64) -> Answer {
    static CACHE: LazyLock<moka::future::Cache<u64, Arc<Issue>>> =
        LazyLock::new(|| moka::future::Cache::new(100_000));
    CACHE
        .try_get_with(id, load(id))
        .await
        .map_err(|error: Arc<ApiError>| (*error).clone())
}

async fn quick(id: u64) -> Answer {
    static CACHE: LazyLock<quick_cache::sync::Cache<u64, Arc<Issue>>> =
        LazyLock::new(|| quick_cache::sync::Cache::new(100_000));
    CACHE.get_or_insert_async(&id, load(id)).await
}

async fn protected_cachet(id: u64) -> Answer {
    static CACHE: LazyLock<cachet::Cache<u64, Arc<Issue>>> = LazyLock::new(|| {
        cachet::Cache::builder(tick::Clock::new_tokio())
            .memory()
            .stampede_protection()
            .build()
    });
    let entry = CACHE.try_get_or_insert(&id, || load(id)).await;
    entry
        .map(cachet::CacheEntry::into_value)
        .map_err(|_| ApiError)
}

async fn through_amalgam(id: u64) -> Answer {
    static CACHE: LazyLock<amalgam::Cache<Arc<Issue>>> =
        LazyLock::new(|| amalgam::Cache::builder().try_build().expect("a cache"));
    let call = CACHE.get_or_set(id.to_string(), move |_| load(id));
    call.await.map_err(|_| ApiError)
}

async fn multi_tier(id: u64) -> Answer {
    static CACHE: LazyLock<multi_tier_cache::CacheManager> = LazyLock::new(|| {
        use multi_tier_cache::cache_manager::CacheTier;
        let memory = multi_tier_cache::MokaCache::new(multi_tier_cache::MokaCacheConfig::default());
        let memory = Arc::new(memory.expect("a cache in memory"));
        let tiers = vec![CacheTier::new(memory, 1, false, 1, 1.0)];
        multi_tier_cache::CacheManager::new_with_tiers(tiers, None).expect("one tier")
    });
    let load = || async move {
        let answer = load(id).await;
        answer.map_err(|error| multi_tier_cache::CacheError::InternalError(error.to_string()))
    };
    let strategy = multi_tier_cache::CacheStrategy::ShortTerm;
    let key = id.to_string();
    let answer = CACHE.get_or_compute_typed(&key, strategy, load);
    answer.await.map_err(|_| ApiError)
}

fn main() {
    // A panic that is part of the measurement is not to be read.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("a load panics") {
            default(info);
        }
    }));
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(600))
        .sample_size(10)
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for end in End::KINDS {
        let mut group = criterion.benchmark_group(end.group());
        group.sampling_mode(SamplingMode::Flat);
        let mut rows = Rows {
            runtime: &runtime,
            group: &mut group,
            end,
        };
        rows.row("dexter-cache", CALLERS, dexter);
        rows.row("moka", CALLERS, moka);
        rows.row("cachet", CALLERS, protected_cachet);
        rows.row("amalgam", CALLERS, through_amalgam);
        if end == End::Well {
            rows.row("the load alone", 1, load);
            rows.row("quick_cache", CALLERS, quick);
            rows.row("cached by_key", CALLERS, cached_by_key);
            rows.row("cached concurrent_cached", CALLERS, cached_sharded);
            rows.row("multi-tier-cache", CALLERS, multi_tier);
        }
        group.finish();
    }
    criterion.final_summary();
}

struct Rows<'a, 'c> {
    runtime: &'a Runtime,
    group: &'a mut BenchmarkGroup<'c, WallTime>,
    end: End,
}

impl Rows<'_, '_> {
    fn row<F: Future<Output = Answer> + Send + 'static>(
        &mut self,
        name: &str,
        callers: usize,
        call: impl Fn(u64) -> F,
    ) {
        let (runtime, end) = (self.runtime, self.end);
        let cache = Cache::memory();
        let (mut stampedes, mut answered) = (0, 0);
        LOADS.store(0, Ordering::Relaxed);
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    stampedes += 1;
                    let key = stampedes * 4 + end as u64;
                    let stampede = stampede(callers, end, || call(key));
                    let (this, answers) = runtime.block_on(cache.scope(stampede));
                    took += this;
                    answered += answers;
                }
                took
            });
        });
        if stampedes > 0 {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let each = LOADS.load(Ordering::Relaxed) as f64 / stampedes as f64;
            note(end.group(), name, "loads a stampede", &format!("{each:.1}"));
            if end == End::Panics {
                let each = answered / usize::try_from(stampedes).expect("a small number");
                note(
                    end.group(),
                    name,
                    "callers with an answer",
                    &each.to_string(),
                );
            }
        }
    }
}

async fn stampede<F: Future<Output = Answer> + Send + 'static>(
    callers: usize,
    end: End,
    call: impl Fn() -> F,
) -> (Duration, usize) {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    if end == End::Dropped {
        let first = call().in_cache_scope();
        tasks.spawn(async move {
            let dropped = tokio::time::timeout(DROPPED, first).await;
            dropped.unwrap_or(Err(ApiError))
        });
        // It leads.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..callers {
        tasks.spawn(call().in_cache_scope());
    }
    let mut answered = 0;
    while let Some(answer) = tasks.join_next().await {
        answered += usize::from(answer.is_ok_and(|answer| answer.is_ok()));
    }
    match end {
        End::Fails => assert_eq!(answered, 0, "each load fails"),
        // Some hand the panic to all who wait: how many have an answer is noted.
        End::Panics => {}
        // The one that is dropped may have its answer, too, where a starved machine is late to drop it.
        End::Well | End::Dropped => assert!(answered >= callers, "each caller has an answer"),
    }
    (begun.elapsed(), answered)
}
