//! What does reading 50 keys at once cost, against 50 reads?
//!
//! Values of 1 KB, all of them there. In memory `get_many` against one `get` after the other. On Redis `get_many` against `get`
//! one after the other, against 50 `get`s at once, and against a bare MGET with `serde_json`. A time is that of all 50.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{Issue, Turns};
use criterion::Criterion;
use dexter_cache::{Cache, Key, Ttl};
use redis::AsyncCommands;
use support::RedisServer;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const AT_ONCE: u32 = 50;

fn keys() -> Vec<Key> {
    (0..AT_ONCE)
        .map(|id| Key::new("bulk").part("id", &id))
        .collect()
}

fn main() {
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");

    let memory = Cache::memory();
    runtime.block_on(fill(&memory));
    let mut turns = Turns::new();
    many(&mut turns, &runtime, &memory);
    singles(&mut turns, &runtime, &memory);
    turns.measure(&mut criterion, "bulk memory 50");

    let server = RedisServer::start();
    let redis = Cache::builder().redis(server.url()).namespace("bench");
    let redis = runtime.block_on(redis.build()).expect("a cache");
    runtime.block_on(fill(&redis));
    let mut turns = Turns::of(25, Duration::from_millis(40));
    many(&mut turns, &runtime, &redis);
    singles(&mut turns, &runtime, &redis);
    at_once(&mut turns, &runtime, &redis);
    bare(&mut turns, &runtime, &server);
    turns.measure(&mut criterion, "bulk redis 50");
    criterion.final_summary();
}

async fn fill(cache: &Cache) {
    for (id, key) in (0..AT_ONCE).zip(keys()) {
        let issue = Arc::new(Issue::sample(u64::from(id)));
        let stored = cache.set(&key, &issue, Ttl::secs(3600)).await;
        stored.expect("stored");
    }
}

fn rounds<'a, F: Future<Output = usize>>(
    turns: &mut Turns<'a>,
    name: &'static str,
    runtime: &'a Runtime,
    round: impl Fn() -> F + 'a,
) {
    turns.row(name, move |count| {
        runtime.block_on(async {
            let begun = Instant::now();
            for _ in 0..count {
                let found = black_box(round().await);
                assert_eq!(found, AT_ONCE as usize, "{name}: all of them are there");
            }
            begun.elapsed()
        })
    });
}

fn many<'a>(turns: &mut Turns<'a>, runtime: &'a Runtime, cache: &'a Cache) {
    rounds(turns, "dexter-cache", runtime, || async {
        let found = cache.get_many::<Arc<Issue>>(&keys()).await;
        found.expect("the backend answers").iter().flatten().count()
    });
}

fn singles<'a>(turns: &mut Turns<'a>, runtime: &'a Runtime, cache: &'a Cache) {
    rounds(turns, "get, one after the other", runtime, || async {
        let mut found = 0;
        for key in keys() {
            let issue = cache.get::<Arc<Issue>>(&key).await;
            found += usize::from(issue.expect("the backend answers").is_some());
        }
        found
    });
}

fn at_once<'a>(turns: &mut Turns<'a>, runtime: &'a Runtime, cache: &'a Cache) {
    rounds(turns, "get, all at once", runtime, || async {
        let mut running = JoinSet::new();
        for key in keys() {
            let cache = cache.clone();
            running.spawn(async move { cache.get::<Arc<Issue>>(&key).await });
        }
        let found = running.join_all().await;
        found.into_iter().filter_map(Result::ok).flatten().count()
    });
}

fn bare<'a>(turns: &mut Turns<'a>, runtime: &'a Runtime, server: &RedisServer) {
    let client = redis::Client::open(server.url()).expect("an address");
    let connection = runtime
        .block_on(async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            for id in 0..AT_ONCE {
                let json = serde_json::to_vec(&Issue::sample(u64::from(id))).expect("JSON");
                let () = connection.set(format!("bare:id={id}"), json).await?;
            }
            redis::RedisResult::Ok(connection)
        })
        .expect("a connection");
    rounds(turns, "MGET and serde_json", runtime, move || {
        let mut connection = connection.clone();
        async move {
            let keys: Vec<String> = (0..AT_ONCE).map(|id| format!("bare:id={id}")).collect();
            let found: Vec<Vec<u8>> = connection.mget(keys).await.expect("the values");
            let decoded = found
                .iter()
                .map(|json| serde_json::from_slice::<Issue>(json));
            decoded.flatten().count()
        }
    });
}
