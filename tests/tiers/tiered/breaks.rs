//! The stream of news breaks: L1 answers for a while and never after Redis is trusted again.

use std::time::{Duration, Instant};

use dexter_cache::{Cache, Reach, Serving};
use support::{Proxy, RedisServer};
use tokio::task::block_in_place;

use super::{NAMESPACE, builder, from_l1, set, tiered, until_read};
use crate::{BOUND, MINUTE, key, ready, until, until_back, until_lost};

/// Longer than L1 answers without news otherwise, so that it is this bound that ends it.
const FALLBACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_8_what_changed_while_the_stream_was_cut_is_not_read_after_the_restore() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let here = ready(builder(&proxy.url())).await;
    let there = tiered(&server).await;
    let keys = [key("cut", 1), key("cut", 2)];
    for round in 0..4_u32 {
        for key in &keys {
            set(&there, key, round).await;
            until_read(&here, key, Some(round)).await;
            assert_eq!(from_l1(&server, &here, key).await, round);
        }
        proxy.refuse();
        proxy.cut();
        until_lost(&here).await;
        // What was read last serves on, and what this process removes is gone at once.
        assert_eq!(here.get::<u32>(&keys[0]).await.unwrap(), Some(round));
        let removed = here.remove(&keys[1]).await.unwrap();
        assert_eq!(removed.reach, Reach::Journaled);
        assert_eq!(here.get::<u32>(&keys[1]).await.unwrap(), None);
        let loaded = here.get_or_load(&keys[1], MINUTE, || async { 1000 });
        assert_eq!(loaded.await, 1000);
        set(&there, &keys[0], round + 100).await;
        proxy.accept_new();
        until_back(&here).await;
        assert_eq!(
            here.get::<u32>(&keys[0]).await.unwrap(),
            Some(round + 100),
            "written during the outage"
        );
        assert_eq!(
            here.get::<u32>(&keys[1]).await.unwrap(),
            None,
            "loaded during the outage"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_serves_no_longer_than_the_fallback_ttl_after_the_break() {
    let server = RedisServer::start();
    let cache = ready(builder(&server.url()).fallback_ttl(FALLBACK)).await;
    let key = key("broken", 1);
    set(&cache, &key, 1).await;
    assert_eq!(from_l1(&server, &cache, &key).await, 1);
    block_in_place(|| server.kill9());
    until_lost(&cache).await;
    until_read(&cache, &key, None).await;
    assert_eq!(cache.health().serving, Serving::Memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_stream_is_noticed_although_nobody_asks() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    // It has a deadline to notice it by.
    let here = Cache::builder().redis(proxy.url()).namespace(NAMESPACE);
    let here = ready(here.tiered().fallback_ttl(BOUND)).await;
    let there = tiered(&server).await;
    let key = key("frozen", 1);
    for round in 0..2 {
        set(&there, &key, round).await;
        until_read(&here, &key, Some(round)).await;
        let before = proxy.accepted();
        proxy.freeze_existing();
        set(&there, &key, round + 10).await;
        until("another connection is made", || proxy.accepted() > before).await;
        until_back(&here).await;
        // On a machine that is slow enough Redis is lost again, and there may be nothing.
        let mut read = None;
        while read.is_none() {
            until_back(&here).await;
            read = here.get::<u32>(&key).await.unwrap();
        }
        assert_eq!(read, Some(round + 10), "L1 has been emptied");
        // What the old one had still to say does no harm to the new one.
        proxy.thaw();
        until_read(&here, &key, Some(round + 10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_empties_l1() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let key = key("restarted", 1);
    for with_data in [false, true] {
        set(&cache, &key, 1).await;
        assert_eq!(from_l1(&server, &cache, &key).await, 1);
        let before = Instant::now();
        block_in_place(|| {
            server.save();
            if with_data {
                server.restart_with_data();
            } else {
                server.restart();
            }
        });
        until("the backend is in use again", || {
            let health = cache.health();
            let since = health.recovered.is_some_and(|ago| ago < before.elapsed());
            health.serving == Serving::Backend && since
        })
        .await;
        // Nobody knows what a snapshot holds: the namespace has been invalidated.
        assert_eq!(cache.get::<u32>(&key).await.unwrap(), None);
    }
}

#[test]
fn a_runtime_that_ends_takes_its_news_along() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    let server = RedisServer::start();
    let first = runtime();
    let key = key("runtimes", 1);
    let here = first.block_on(async {
        // L1 must not go on as a fallback for longer than this test waits.
        let here = ready(builder(&server.url()).fallback_ttl(FALLBACK)).await;
        set(&here, &key, 1).await;
        assert_eq!(from_l1(&server, &here, &key).await, 1);
        here
    });
    // The task that reads the connection ends without a word, and so does the guardian.
    drop(first);
    runtime().block_on(async {
        let there = tiered(&server).await;
        set(&there, &key, 2).await;
        until_read(&here, &key, Some(2)).await;
        until_back(&here).await;
        assert_eq!(here.get::<u32>(&key).await.unwrap(), Some(2));
    });
}
