//! How many loads do 1000 concurrent misses of one key cause, and when does the last caller have its answer?
//!
//! The load takes 20 ms; the row `the load alone` is one caller without a cache. Each stampede is at a key of its own,
//! on a runtime with two threads. Beside the times the report shows how many loads there were for each stampede.

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

static LOADS: AtomicU64 = AtomicU64::new(0);

type Answer = Result<Arc<Issue>, ApiError>;

async fn load(id: u64) -> Answer {
    LOADS.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(LOAD).await;
    Ok(Arc::new(Issue::sample(id)))
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

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("stampede 1000");
    group.sampling_mode(SamplingMode::Flat);
    row(&runtime, &mut group, "the load alone", 1, load);
    row(&runtime, &mut group, "dexter-cache", CALLERS, dexter);
    row(&runtime, &mut group, "moka", CALLERS, moka);
    row(&runtime, &mut group, "quick_cache", CALLERS, quick);
    row(
        &runtime,
        &mut group,
        "cached by_key",
        CALLERS,
        cached_by_key,
    );
    row(
        &runtime,
        &mut group,
        "cached concurrent_cached",
        CALLERS,
        cached_sharded,
    );
    group.finish();
    criterion.final_summary();
}

fn row<F: Future<Output = Answer> + Send + 'static>(
    runtime: &Runtime,
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    callers: usize,
    call: impl Fn(u64) -> F,
) {
    let cache = Cache::memory();
    let mut key = 0;
    LOADS.store(0, Ordering::Relaxed);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let mut took = Duration::ZERO;
            for _ in 0..count {
                key += 1;
                took += runtime.block_on(cache.scope(stampede(callers, || call(key))));
            }
            took
        });
    });
    if key > 0 {
        let loads = LOADS.load(Ordering::Relaxed);
        let each = loads.checked_div(key).unwrap_or_default();
        let rest = loads % key * 10 / key;
        note(
            "stampede 1000",
            name,
            "loads a stampede",
            &format!("{each}.{rest}"),
        );
    }
}

async fn stampede<F: Future<Output = Answer> + Send + 'static>(
    callers: usize,
    call: impl Fn() -> F,
) -> Duration {
    let begun = Instant::now();
    let mut tasks: JoinSet<_> = (0..callers).map(|_| call().in_cache_scope()).collect();
    while let Some(answer) = tasks.join_next().await {
        answer
            .expect("no caller panics")
            .expect("the load does not fail");
    }
    begun.elapsed()
}
