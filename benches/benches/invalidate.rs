//! What does a removal by pattern cost, and what do others notice of it?
//!
//! In memory: 100,000 entries, of which the pattern matches 1000; against `retain` of `quick_cache`, which locks each of
//! its shards for as long as it walks it. While it is done, another thread reads, and the slowest of its reads is noted.
//!
//! On Redis: `DEXTER_KEYS` keys (100,000 by default), of which the pattern matches 1000; against a bare sweep by SCAN with
//! COUNT 1000 and UNLINK. Another client reads one key over and over; its p99 and slowest read are noted, with nobody
//! sweeping, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benches::{Latencies, note};
use criterion::{Criterion, SamplingMode};
use dexter_cache::{Cache, Key, KeyPattern, Ttl};
use redis::AsyncCommands;
use support::RedisServer;
use tokio::runtime::{Builder, Runtime};

const IN_MEMORY: u32 = 100_000;
const MATCHING: u32 = 1000;
const PATTERN: &str = "list_issues:*";

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
    in_memory(&mut criterion, &runtime);
    on_redis(&mut criterion, &runtime);
    criterion.final_summary();
}

fn matching(id: u32) -> String {
    format!("list_issues:organization=myorg&page={id}")
}

fn other(id: u32) -> String {
    format!("get_issue:organization=myorg&path=/api/v1/issues/{id}")
}

fn in_memory(criterion: &mut Criterion, runtime: &Runtime) {
    let name = format!("invalidate memory {IN_MEMORY}");
    let mut group = criterion.benchmark_group(&name);
    group.sampling_mode(SamplingMode::Flat);

    let cache = Cache::builder().memory_capacity(2 * IN_MEMORY as usize);
    let cache = runtime.block_on(cache.build()).expect("a cache in memory");
    let value = Arc::new(7_u64);
    let set = |text: String| {
        let key = Key::raw(text);
        let stored = runtime.block_on(cache.set(&key, &value, Ttl::secs(3600)));
        stored.expect("stored in memory");
    };
    (0..IN_MEMORY).map(other).for_each(set);
    let read = {
        let (cache, key) = (cache.clone(), Key::raw(other(0)));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        move || {
            let value = runtime.block_on(cache.get::<Arc<u64>>(&key));
            assert!(value.is_ok_and(|value| value.is_some()));
        }
    };
    let reader = Reader::start(read);
    group.bench_function("dexter-cache", |bencher| {
        bencher.iter_custom(|count| {
            sum(count, || {
                (0..MATCHING).map(matching).for_each(set);
                let pattern = KeyPattern::new(PATTERN);
                reader.beside(|| {
                    let removed = runtime.block_on(cache.invalidate(&pattern));
                    removed.expect("memory can be walked");
                })
            })
        });
    });
    reader.finish(&name, "dexter-cache");

    let cache = Arc::new(quick_cache::sync::Cache::<String, Arc<u64>>::new(
        2 * IN_MEMORY as usize,
    ));
    let set = |text: String| cache.insert(text, Arc::clone(&value));
    (0..IN_MEMORY).map(other).for_each(set);
    let read = {
        let (cache, key) = (Arc::clone(&cache), other(0));
        move || assert!(cache.get(&key).is_some())
    };
    let reader = Reader::start(read);
    group.bench_function("quick_cache retain", |bencher| {
        bencher.iter_custom(|count| {
            sum(count, || {
                (0..MATCHING).map(matching).for_each(set);
                reader.beside(|| cache.retain(|key, _| !key.starts_with("list_issues:")))
            })
        });
    });
    reader.finish(&name, "quick_cache retain");
    group.finish();
}

fn on_redis(criterion: &mut Criterion, runtime: &Runtime) {
    let keys = std::env::var("DEXTER_KEYS").map_or(100_000, |keys| {
        keys.parse().expect("DEXTER_KEYS is a number of keys")
    });
    let name = format!("invalidate redis {keys}");
    let mut group = criterion.benchmark_group(&name);
    group.sampling_mode(SamplingMode::Flat);
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("an address");
    let connection = runtime
        .block_on(client.get_multiplexed_async_connection())
        .expect("a connection");
    let fill = |texts: &[String]| {
        let mut connection = connection.clone();
        runtime.block_on(async {
            for chunk in texts.chunks(1000) {
                let mut pipe = redis::pipe();
                for text in chunk {
                    pipe.set(text, "some value of no great length").ignore();
                }
                let _: () = pipe.query_async(&mut connection).await.expect("stored");
            }
        });
    };
    fill(&(0..keys).map(other).collect::<Vec<_>>());
    let texts: Vec<String> = (0..MATCHING).map(matching).collect();
    let cache = runtime
        .block_on(Cache::builder().redis(server.url()).build())
        .expect("a cache");
    let reader = || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let connection = runtime.block_on(client.get_multiplexed_async_connection());
        let (mut connection, key) = (connection.expect("a connection"), other(0));
        Reader::start(move || {
            let value: Option<Vec<u8>> = runtime.block_on(connection.get(&key)).expect("a value");
            assert!(value.is_some());
        })
    };

    let alone = reader();
    alone.beside(|| thread::sleep(Duration::from_secs(1)));
    alone.finish(&name, "nobody sweeping");

    let beside = reader();
    group.bench_function("dexter-cache", |bencher| {
        bencher.iter_custom(|count| {
            sum(count, || {
                fill(&texts);
                let pattern = KeyPattern::new(PATTERN);
                beside.beside(|| {
                    let removed = runtime.block_on(cache.invalidate(&pattern));
                    removed.expect("Redis can be walked");
                })
            })
        });
    });
    beside.finish(&name, "dexter-cache");

    let beside = reader();
    group.bench_function("SCAN COUNT 1000 and UNLINK", |bencher| {
        bencher.iter_custom(|count| {
            sum(count, || {
                fill(&texts);
                beside.beside(|| runtime.block_on(bare_sweep(connection.clone())))
            })
        });
    });
    beside.finish(&name, "SCAN COUNT 1000 and UNLINK");
    group.finish();
}

async fn bare_sweep(mut connection: redis::aio::MultiplexedConnection) {
    let mut cursor = 0_u64;
    loop {
        let (next, found): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(PATTERN)
            .arg("COUNT")
            .arg(1000)
            .query_async(&mut connection)
            .await
            .expect("SCAN is answered");
        if !found.is_empty() {
            let _: u64 = connection.unlink(found).await.expect("UNLINK is answered");
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
}

fn sum(count: u64, mut round: impl FnMut() -> Duration) -> Duration {
    (0..count).map(|_| round()).sum()
}

/// Somebody who reads all the time; only what is read while something else is done counts.
struct Reader {
    running: Arc<AtomicBool>,
    counting: Arc<AtomicBool>,
    thread: thread::JoinHandle<Latencies>,
}

impl Reader {
    fn start(mut read: impl FnMut() + Send + 'static) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let counting = Arc::new(AtomicBool::new(false));
        let (goes_on, counts) = (Arc::clone(&running), Arc::clone(&counting));
        let thread = thread::spawn(move || {
            let mut latencies = Latencies::default();
            while goes_on.load(Ordering::Relaxed) {
                if counts.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    read();
                    latencies.push(begun.elapsed());
                } else {
                    thread::yield_now();
                }
            }
            latencies
        });
        Self {
            running,
            counting,
            thread,
        }
    }

    /// How long `work` takes while this reads.
    fn beside(&self, work: impl FnOnce()) -> Duration {
        self.counting.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        work();
        let took = begun.elapsed();
        self.counting.store(false, Ordering::Relaxed);
        took
    }

    fn finish(self, group: &str, row: &str) {
        self.running.store(false, Ordering::Relaxed);
        let mut latencies = self.thread.join().expect("a reader does not fail");
        for (what, part) in [
            ("p99 of a reader beside it", 0.99),
            ("slowest read beside it", 1.0),
        ] {
            let figure = format!("{:.1} µs", latencies.percentile(part).as_secs_f64() * 1e6);
            note(group, row, what, &figure);
        }
    }
}
