//! A load that comes to nothing keeps nobody waiting: its lease does not outlive it.

use std::time::Duration;

use dexter_cache::{Cache, CacheBuilder, Key};
use support::{Proxy, RedisServer};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use crate::drills::runtime;
use crate::{
    LEASE, MINUTE, build, key, patient, patient_builder, ready, soon, until, until_back, until_lost,
};

/// A cache that finds out by itself that a server hangs, and leases that would be waited for until the test gives up.
fn default_budget(url: &str) -> CacheBuilder {
    Cache::builder()
        .redis(url)
        .lease_ttl(LEASE)
        .follow_timeout(LEASE)
}

async fn assert_prompt(cache: &Cache, key: &Key) {
    let call = cache.get_or_load(key, MINUTE, || async { 2 });
    soon("a caller waits for a lease of nobody", call).await;
}

/// As [`assert_prompt`], on another runtime: the first call there sees to the connection.
async fn assert_prompt_again(cache: &Cache, key: &Key) {
    cache.get::<u32>(&crate::key("other", 1)).await.unwrap();
    until_back(cache).await;
    assert_prompt(cache, key).await;
}

/// The server stops while a load holds its lease, and comes back with the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_load_that_ended_during_an_outage() {
    let server = RedisServer::start();
    let cache = build(default_budget(&server.url())).await;
    let elsewhere = patient(&server).await;
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
    assert_prompt(&elsewhere, &key).await;
}

/// The server is full when the value comes: it can be removed, but not be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_load_that_a_full_server_did_not_take() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let cache = patient(&server).await;
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
    let cache = build(default_budget(&proxy.url())).await;
    // Nothing under the key at the first look, and no answer to the second: the delay eats the budget between them.
    let slow = Duration::from_millis(75);
    for id in 1.. {
        let key = key("lease", id);
        until_back(&cache).await;
        proxy.delay(slow);
        let value = cache.get_or_load(&key, MINUTE, || async { 1 }).await;
        assert_eq!(value, 1);
        proxy.delay(Duration::ZERO);
        until("the lease is given back, or will be", || {
            let left = block_in_place(|| server.cli(&["EXISTS", key.as_str()]));
            left == "0" || !cache.health().is_whole()
        })
        .await;
        until_back(&cache).await;
        assert_prompt(&cache, &key).await;
        // On a busy machine the look itself may come to nothing. Each round asks for a lease once more, at its end.
        if id >= 10 && block_in_place(|| sets(&server)) > id {
            break;
        }
    }
}

fn sets(server: &RedisServer) -> u32 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// The runtime ends in the middle of a load, and another one goes on with the cache.
#[test]
fn of_a_load_whose_runtime_has_ended() {
    let server = RedisServer::start();
    let first = runtime();
    let cache = first.block_on(patient(&server));
    let key = key("lease", 1);
    first.block_on(async {
        let (begun, begins) = oneshot::channel();
        let (cache, key) = (cache.clone(), key.clone());
        tokio::spawn(async move {
            let load = || async {
                begun.send(()).expect("somebody listens");
                std::future::pending::<u32>().await
            };
            cache.get_or_load(&key, MINUTE, load).await
        });
        soon("the load begins", begins).await.unwrap();
    });
    assert_eq!(server.cli(&["EXISTS", key.as_str()]), "1", "its lease");
    drop(first);
    runtime().block_on(assert_prompt_again(&cache, &key));
}

/// The runtime ends while the value is on its way to the server.
#[test]
fn of_a_store_whose_runtime_has_ended() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let first = runtime();
    let cache = first.block_on(ready(patient_builder(&proxy.url())));
    let key = key("lease", 1);
    first.block_on(async {
        let load = || async {
            proxy.freeze_existing();
            1
        };
        cache.get_or_load(&key, MINUTE, load).await;
        until("the store is on its way", || proxy.held() > 0).await;
    });
    drop(first);
    runtime().block_on(assert_prompt_again(&cache, &key));
}
