//! A Redis that comes back with data that is older than what it acknowledged.

use dexter_cache::{Cache, CacheBuilder};
use support::RedisServer;

use crate::{MINUTE, key, patient_builder, ready, until, until_back, until_lost};

/// Removes one of two values after the snapshot was taken, and lets the server restart from it.
async fn restarted(builder: impl Fn(&RedisServer) -> CacheBuilder) -> (RedisServer, Cache) {
    let server = RedisServer::start();
    let cache = ready(builder(&server)).await;
    for id in [1, 2] {
        let key = key("forgetful", id);
        cache.get_or_load(&key, MINUTE, || async { id }).await;
    }
    until("both are stored", || cache.stats().total.stored == 2).await;
    server.save();
    cache.remove(&key("forgetful", 1)).await.unwrap();
    server.kill9();
    until_lost(&cache).await;
    server.restart_with_data();
    until_back(&cache).await;
    (server, cache)
}

async fn values(cache: &Cache) -> [Option<u32>; 2] {
    let get = async |id| cache.get(&key("forgetful", id)).await.unwrap();
    [get(1).await, get(2).await]
}

#[tokio::test]
async fn an_acknowledged_removal_is_replayed_to_a_server_that_has_restarted() {
    let (_server, cache) = restarted(|server| {
        patient_builder(&server.url())
            .namespace("forgetful")
            .trust_snapshot(true)
    })
    .await;
    assert_eq!(values(&cache).await, [None, Some(2)]);
}

/// What was there before a `set` is as old as what was removed.
#[tokio::test]
async fn scar_2_what_a_set_replaced_does_not_come_back_with_a_server_that_has_restarted() {
    let server = RedisServer::start();
    let builder = patient_builder(&server.url()).namespace("forgetful");
    let cache = ready(builder.trust_snapshot(true)).await;
    let key = key("forgetful", 1);
    cache.set(&key, &1, MINUTE).await.unwrap();
    server.save();
    cache.set(&key, &2, MINUTE).await.unwrap();
    server.kill9();
    until_lost(&cache).await;
    server.restart_with_data();
    until_back(&cache).await;
    assert_ne!(cache.get::<u32>(&key).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_namespace_is_invalidated_before_a_restarted_server_is_trusted() {
    let (_server, cache) =
        restarted(|server| patient_builder(&server.url()).namespace("forgetful")).await;
    assert_eq!(values(&cache).await, [None, None]);
}

#[tokio::test]
async fn without_a_namespace_each_process_sees_to_its_own_prefixes() {
    let (server, cache) = restarted(|server| {
        server.cli(&["SET", "session:1", "theirs"]);
        patient_builder(&server.url())
    })
    .await;
    assert_eq!(values(&cache).await, [None, None]);
    assert_eq!(server.cli(&["GET", "session:1"]).trim(), "theirs");
}

#[tokio::test]
async fn one_process_invalidates_for_all() {
    // Whatever it is asked is logged.
    let log = [
        "--slowlog-log-slower-than",
        "0",
        "--slowlog-max-len",
        "100000",
    ];
    let server = RedisServer::start_with(&log);
    let builder = || patient_builder(&server.url()).namespace("forgetful");
    let caches = [ready(builder()).await, ready(builder()).await];
    server.save();
    server.kill9();
    for cache in &caches {
        until_lost(cache).await;
    }
    server.restart_with_data();
    for cache in &caches {
        until_back(cache).await;
        cache.set(&key("forgetful", 1), &1, MINUTE).await.unwrap();
    }
    let asked = server.cli(&["SLOWLOG", "GET", "100000"]);
    let asked: Vec<&str> = asked.lines().map(str::trim).collect();
    let voided = ["UNLINK", "forgetful:dexter-cache:epoch"];
    let times = asked.windows(2).filter(|words| *words == voided).count();
    assert_eq!(times, 1, "{asked:?}");
    assert!(!asked.contains(&"SCAN"));
}
