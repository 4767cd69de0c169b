//! What does a hit in Redis cost, with 1, 16, 128 and 512 tasks asking at once?
//!
//! Beside `dexter-cache` (the annotated function, default features, Redis behind the cache): the bare multiplexed
//! connection with GET and `serde_json`, which is the base of the ratios, and GET alone. The server is started here, on
//! a free port. 8192 keys, so that tasks seldom ask for the same one (callers of one key share a read). A time is that of
//! one hit, all tasks together; p50 and p99 of single calls are measured apart and noted.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benches::{ApiError, Issue, Latencies, MEASURE, WARM_UP, note};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use dexter_cache::{Cache, InCacheScope, cached};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use support::RedisServer;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const KEYS: usize = 8192;
const CALLS_FOR_LATENCY: usize = 20_000;

static LOADS: AtomicU64 = AtomicU64::new(0);

#[cached(ttl = "1h", prefix = "redis_hit")]
async fn issue(path: &str, id: u64) -> Result<Issue, ApiError> {
    LOADS.fetch_add(1, Ordering::Relaxed);
    let _ = path;
    Ok(Issue::sample(id))
}

async fn through_cache(id: u64) -> u64 {
    issue("/api/v1/issues", id).await.expect("an issue").id
}

fn bare_key(id: u64) -> String {
    format!("bare:id={id}&path=/api/v1/issues")
}

async fn bare(mut connection: MultiplexedConnection, id: u64) -> u64 {
    let bytes: Vec<u8> = connection.get(bare_key(id)).await.expect("the value");
    let issue: Issue = serde_json::from_slice(&bytes).expect("an issue");
    issue.id
}

async fn bytes_alone(mut connection: MultiplexedConnection, id: u64) -> u64 {
    let bytes: Vec<u8> = connection.get(bare_key(id)).await.expect("the value");
    bytes.len() as u64
}

fn main() {
    let server = RedisServer::start();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (cache, connection) = runtime.block_on(async {
        let cache = Cache::builder()
            .redis(server.url())
            .build()
            .await
            .expect("a cache");
        let client = redis::Client::open(server.url()).expect("an address");
        let mut connection = client
            .get_multiplexed_async_connection()
            .await
            .expect("a connection");
        for id in 0..KEYS as u64 {
            let json = serde_json::to_vec(&Issue::sample(id)).expect("JSON");
            let _: () = connection.set(bare_key(id), json).await.expect("stored");
        }
        (cache, connection)
    });
    // Once to fill, once more until nothing is loaded: fills come behind the answer.
    loop {
        let before = LOADS.load(Ordering::Relaxed);
        run(&runtime, &cache, 64, KEYS, through_cache);
        if LOADS.load(Ordering::Relaxed) == before {
            break;
        }
    }
    let before = LOADS.load(Ordering::Relaxed);
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE * 2)
        .sample_size(20)
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    for tasks in [1, 16, 128, 512] {
        let name = format!("redis_hit {tasks}");
        let mut group = criterion.benchmark_group(&name);
        let mut row = Row {
            runtime: &runtime,
            cache: &cache,
            group: &mut group,
            group_name: &name,
            tasks,
        };
        row.measure("dexter-cache", through_cache);
        let for_values = connection.clone();
        row.measure("GET and serde_json", move |id| bare(for_values.clone(), id));
        let for_bytes = connection.clone();
        row.measure("GET alone", move |id| bytes_alone(for_bytes.clone(), id));
        group.finish();
    }
    let loads = LOADS.load(Ordering::Relaxed) - before;
    note(
        "redis_hit 1",
        "dexter-cache",
        "loads while hits were measured, all groups",
        &loads.to_string(),
    );
    criterion.final_summary();
}

struct Row<'a, 'c> {
    runtime: &'a Runtime,
    cache: &'a Cache,
    group: &'a mut BenchmarkGroup<'c, WallTime>,
    group_name: &'a str,
    tasks: usize,
}

impl Row<'_, '_> {
    fn measure<F>(&mut self, name: &str, call: impl Fn(u64) -> F + Clone + Send + 'static)
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let mut ran = false;
        self.group.bench_function(name, |bencher| {
            ran = true;
            bencher.iter_custom(|count| {
                let count = usize::try_from(count).expect("a count fits");
                run(self.runtime, self.cache, self.tasks, count, call.clone()).0
            });
        });
        if ran {
            let calls = CALLS_FOR_LATENCY.max(self.tasks * 50);
            let (_, mut latencies) = run(self.runtime, self.cache, self.tasks, calls, call);
            for (what, part) in [("p50", 0.5), ("p99", 0.99)] {
                let figure = format!("{:.0} µs", latencies.percentile(part).as_secs_f64() * 1e6);
                note(self.group_name, name, what, &figure);
            }
        }
    }
}

/// `calls` calls, spread over `tasks` tasks.
fn run<F>(
    runtime: &Runtime,
    cache: &Cache,
    tasks: usize,
    calls: usize,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) -> (Duration, Latencies)
where
    F: Future<Output = u64> + Send + 'static,
{
    runtime.block_on(cache.scope(async {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for task in 0..tasks {
            let call = call.clone();
            let (from, to) = (calls * task / tasks, calls * (task + 1) / tasks);
            let work = async move {
                let mut latencies = Latencies::default();
                for at in from..to {
                    let asked = Instant::now();
                    call((at % KEYS) as u64).await;
                    latencies.push(asked.elapsed());
                }
                latencies
            };
            running.spawn(work.in_cache_scope());
        }
        let mut latencies = Latencies::default();
        while let Some(of_task) = running.join_next().await {
            latencies.append(of_task.expect("no task panics"));
        }
        (begun.elapsed(), latencies)
    }))
}
