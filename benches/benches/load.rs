//! What does a miss cost, with the fill that follows it?
//!
//! In memory: keys that were never asked for, in a full cache with room for 100,000, so that each fill evicts; the load makes
//! a value of 1 KB (the row `the load alone`). Rows in turns, and every turn asserts that each call has loaded. Single flight:
//! dexter-cache, `moka`, `quick_cache` and `amalgam` have it here; `cached`, `cachet` and `multi-tier-cache` do not.
//!
//! On Redis, one and 16 tasks: the annotated function against a bare GET and SET EX with `serde_json` (which holds no lease
//! and waits for its SET; dexter-cache stores behind the answer), `cached` and `hitbox`.

#[path = "shared/hitbox_answer.rs"]
mod hitbox_answer;
#[path = "shared/tasks.rs"]
mod tasks;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use benches::{ApiError, Issue, Turns, loads, on_threads};
use criterion::Criterion;
use dexter_cache::Cache;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use support::RedisServer;
use tokio::runtime::Builder;

use crate::hitbox_answer::Answer;
use crate::tasks::Callers;

const CAPACITY: usize = 100_000;
const TTL: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);

type Loaded = Result<Arc<Issue>, ApiError>;

async fn alone(id: u64) -> Loaded {
    Ok(Arc::new(Issue::sample(id)))
}

#[dexter_cache::cached(ttl = "5m", prefix = "load")]
async fn dexter(id: u64) -> Loaded {
    alone(id).await
}

#[cached::macros::concurrent_cached(max_size = 100_000, ttl_secs = 300)]
async fn cached_sharded(id: u64) -> Loaded {
    alone(id).await
}

async fn quick(id: u64) -> Loaded {
    type Of = quick_cache::sync::Cache<u64, (Instant, Arc<Issue>)>;
    static CACHE: LazyLock<Of> = LazyLock::new(|| Of::new(CAPACITY));
    let load = async { Ok::<_, ApiError>((Instant::now() + TTL, alone(id).await?)) };
    Ok(CACHE.get_or_insert_async(&id, load).await?.1)
}

async fn moka(id: u64) -> Loaded {
    static CACHE: LazyLock<moka::future::Cache<u64, Arc<Issue>>> = LazyLock::new(|| {
        moka::future::Cache::builder()
            .max_capacity(CAPACITY as u64)
            .time_to_live(TTL)
            .build()
    });
    let value = CACHE.try_get_with(id, alone(id)).await;
    value.map_err(|_| ApiError)
}

async fn through_cachet(id: u64) -> Loaded {
    static CACHE: LazyLock<cachet::Cache<u64, Arc<Issue>>> = LazyLock::new(|| {
        cachet::Cache::builder(tick::Clock::new_tokio())
            .memory_with(|memory| memory.max_capacity(CAPACITY as u64))
            .ttl(TTL)
            .build()
    });
    let entry = CACHE.try_get_or_insert(&id, || alone(id)).await;
    entry
        .map(cachet::CacheEntry::into_value)
        .map_err(|_| ApiError)
}

fn main() {
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    in_memory(&mut criterion);
    on_redis(&mut criterion);
    criterion.final_summary();
}

fn in_memory(criterion: &mut Criterion) {
    let cache = Cache::builder().memory_capacity(CAPACITY);
    let runtime = Builder::new_current_thread().enable_all().build();
    let cache = runtime.expect("a runtime").block_on(cache.build());
    let cache = cache.expect("a cache in memory");
    let mut turns = Turns::of(40, Duration::from_millis(10));
    miss(&mut turns, "dexter-cache", &cache, dexter);
    miss(&mut turns, "the load alone", &cache, alone);
    miss(&mut turns, "quick_cache", &cache, quick);
    miss(&mut turns, "moka", &cache, moka);
    miss(
        &mut turns,
        "cached concurrent_cached",
        &cache,
        cached_sharded,
    );
    miss(&mut turns, "cachet", &cache, through_cachet);
    turns.measure(criterion, "load memory");
}

/// A row of calls that all miss.
fn miss<'a, F: Future<Output = Loaded>>(
    turns: &mut Turns<'a>,
    name: &'static str,
    cache: &'a Cache,
    call: impl Fn(u64) -> F + Sync + 'a,
) {
    let next = AtomicU64::new(0);
    let mut filled = false;
    turns.row(name, move |count| {
        let run = |count: u64| {
            let (call, next) = (&call, &next);
            on_threads(1, |_| {
                cache.scope(async move {
                    for _ in 0..count {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        std::hint::black_box(call(id).await).expect("the load does not fail");
                    }
                })
            })
        };
        if !filled {
            filled = true;
            run(CAPACITY as u64 * 11 / 10);
        }
        let before = loads();
        let took = run(count);
        assert_eq!(loads() - before, count, "{name} has not loaded each time");
        took
    });
}

static URL: OnceLock<String> = OnceLock::new();
static HITBOX: OnceLock<hitbox_fn::Cache<hitbox_redis::RedisBackend>> = OnceLock::new();

#[dexter_cache::cached(ttl = "1h", prefix = "load_redis")]
async fn dexter_issue(path: &str, id: u64) -> Result<Issue, ApiError> {
    let _ = path;
    Ok(Issue::sample(id))
}

#[cached::macros::concurrent_cached(
    key = "String",
    convert = { format!("id={id}&path={path}") },
    map_error = |_| ApiError,
    ty = "cached::AsyncRedisCache<String, Issue>",
    create = {
        cached::AsyncRedisCache::builder("load")
            .ttl(HOUR)
            .connection_string(URL.get().expect("a server"))
            .build()
            .await
            .expect("a cache")
    }
)]
#[expect(clippy::unused_async, reason = "a load is async")]
async fn cached_issue(path: &str, id: u64) -> Result<Issue, ApiError> {
    let _ = path;
    Ok(Issue::sample(id))
}

#[hitbox_fn::cached(prefix = "load")]
async fn hitbox_issue(path: String, id: u64) -> Result<Answer<Issue>, ApiError> {
    let _ = path;
    Ok(Answer(Issue::sample(id)))
}

async fn bare(mut connection: MultiplexedConnection, id: u64) -> u64 {
    let key = format!("bare:id={id}&path=/api/v1/issues");
    let found: Option<Vec<u8>> = connection.get(&key).await.expect("an answer");
    assert!(found.is_none(), "a key that was never asked for");
    let issue = Issue::sample(id);
    let json = serde_json::to_vec(&issue).expect("JSON");
    let _: () = connection.set_ex(&key, json, 3600).await.expect("stored");
    issue.id
}

fn on_redis(criterion: &mut Criterion) {
    let server = RedisServer::start_with(&[
        "--maxmemory",
        "512mb",
        "--maxmemory-policy",
        "allkeys-random",
    ]);
    URL.set(server.url()).expect("one server");
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let backend = hitbox_redis::RedisBackend::builder()
        .connection(hitbox_redis::ConnectionMode::single(server.url()))
        .build()
        .expect("an address");
    let policy = hitbox::policy::PolicyConfig::builder().ttl(HOUR).build();
    let hitbox = hitbox_fn::Cache::builder()
        .backend(backend)
        .policy(policy)
        .build();
    assert!(HITBOX.set(hitbox).is_ok(), "one server");
    let cache = Cache::builder().redis(server.url()).namespace("bench");
    let cache = runtime.block_on(cache.build()).expect("a cache");
    let client = redis::Client::open(server.url()).expect("an address");
    let connection = runtime
        .block_on(client.get_multiplexed_async_connection())
        .expect("a connection");
    for tasks in [1, 16] {
        let callers = Callers {
            runtime: &runtime,
            cache: &cache,
            tasks,
            keys: usize::MAX,
        };
        let mut turns = Turns::of(25, Duration::from_millis(40));
        miss_redis(&mut turns, "dexter-cache", callers, |id| async move {
            dexter_issue("/api/v1/issues", id)
                .await
                .expect("an issue")
                .id
        });
        let connection = connection.clone();
        miss_redis(
            &mut turns,
            "GET, SET EX and serde_json",
            callers,
            move |id| bare(connection.clone(), id),
        );
        miss_redis(&mut turns, "cached", callers, |id| async move {
            cached_issue("/api/v1/issues", id)
                .await
                .expect("an issue")
                .id
        });
        miss_redis(&mut turns, "hitbox", callers, |id| async move {
            let cache = HITBOX.get().expect("a server");
            let issue = hitbox_issue("/api/v1/issues".to_owned(), id)
                .cache(cache)
                .await;
            issue.expect("an issue").0.id
        });
        turns.measure(criterion, &format!("load redis {tasks}"));
    }
}

/// A row of calls that all miss.
fn miss_redis<'a, F>(
    turns: &mut Turns<'a>,
    name: &'static str,
    callers: Callers<'a>,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) where
    F: Future<Output = u64> + Send + 'static,
{
    // Rows of both groups share functions and thus keys.
    static FIRST: AtomicU64 = AtomicU64::new(0);
    turns.row(name, move |count| {
        loop {
            callers.wait_for_the_backend();
            let first = FIRST.fetch_add(count, Ordering::Relaxed);
            let before = loads();
            let call = call.clone();
            let count = usize::try_from(count).expect("a count fits");
            let took = callers.run(count, move |at| call(first + at));
            let loaded = loads() - before;
            assert_eq!(loaded, count as u64, "{name} has not loaded each time");
            // Else a starved machine has exhausted the time budget, and memory stood in for Redis.
            if callers.cache.health().is_whole() {
                return took;
            }
        }
    });
}
