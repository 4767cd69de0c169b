//! A load that comes to nothing keeps nobody waiting: its lease does not outlive it.

use std::time::{Duration, Instant};

use dexter_cache::{Cache, Key};
use support::{Proxy, RedisServer};
use tokio::task::block_in_place;

use crate::{MINUTE, build, key, until, until_back, until_lost};

/// Far below the ten seconds that a lease lives.
const PROMPT: Duration = Duration::from_secs(4);

async fn assert_prompt(cache: &Cache, key: &Key) {
    let begun = Instant::now();
    cache.get_or_load(key, MINUTE, || async { 2 }).await;
    let time = begun.elapsed();
    assert!(
        time < PROMPT,
        "a caller waited {time:?} for a lease of nobody"
    );
}

/// The server stops while a load holds its lease, and comes back with the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_load_that_ended_during_an_outage() {
    let server = RedisServer::start();
    let cache = crate::cache(&server.url()).await;
    let elsewhere = build(Cache::builder().redis(server.url()).budget(PROMPT)).await;
    let key = key("lease", 1);
    let value = cache
        .get_or_load(&key, MINUTE, || async {
            block_in_place(|| server.pause());
            1
        })
        .await;
    assert_eq!(value, 1);
    until_lost(&cache).await;
    block_in_place(|| server.resume());
    until_back(&cache).await;
    assert_prompt(&cache, &key).await;
    until_back(&elsewhere).await;
    assert_prompt(&elsewhere, &key).await;
}

/// The server is full when the value comes: it can be removed, but not be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_load_that_a_full_server_did_not_take() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let cache = crate::cache(&server.url()).await;
    for id in 1..=3 {
        block_in_place(|| server.cli(&["CONFIG", "SET", "maxmemory", "0"]));
        let key = key("lease", id);
        let loaded = cache
            .try_get_or_load(&key, MINUTE, || async {
                block_in_place(|| server.cli(&["CONFIG", "SET", "maxmemory", "1"]));
                // A value, an error, a value too large: each ends its lease in its own way.
                match id {
                    1 => Ok("x".to_owned()),
                    2 => Err(()),
                    _ => Ok("x".repeat(2 << 20)),
                }
            })
            .await;
        assert_eq!(loaded.is_ok(), id != 2);
        assert_prompt(&cache, &key).await;
    }
}

/// The answer to the taking of the lease is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_was_taken_without_an_answer() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let cache = crate::cache(&proxy.url()).await;
    // Nothing under the key at the first look, and no answer to the second: the delay eats the budget between them.
    proxy.delay(Duration::from_millis(75));
    let mut orphaned = false;
    for id in 0..10 {
        let key = key("lease", id);
        let value = cache.get_or_load(&key, MINUTE, || async { 1 }).await;
        assert_eq!(value, 1);
        until("the outcome is known", || {
            let stats = cache.stats().total;
            stats.stored + stats.fenced > 0 || !cache.health().is_whole()
        })
        .await;
        orphaned |= !cache.health().is_whole();
        proxy.delay(Duration::ZERO);
        until_back(&cache).await;
        assert_prompt(&cache, &key).await;
        proxy.delay(Duration::from_millis(75));
    }
    assert!(orphaned, "the drill has met what it is about");
}
