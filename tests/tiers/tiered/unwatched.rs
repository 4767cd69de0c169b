//! A server that tells of no changes: L1 lives for seconds.

use dexter_cache::KeyPattern;
use support::RedisServer;
use tokio::task::block_in_place;

use super::{builder, from_l1, set, tiered, until_read};
use crate::{MINUTE, key, ready};

async fn bounded(server: &RedisServer, url: &str) {
    let here = ready(builder(url)).await;
    assert!(!here.health().watching);
    let there = tiered(server).await;
    let keys = [key("bounded", 1), key("bounded", 2)];
    for key in &keys {
        set(&there, key, 1).await;
        until_read(&here, key, Some(1)).await;
        assert_eq!(from_l1(server, &here, key).await, 1);
    }
    // Another process's change is seen when the time is up,
    set(&there, &keys[0], 2).await;
    until_read(&here, &keys[0], Some(2)).await;
    // and an own one at once, whatever L1 holds.
    for round in 0..30 {
        set(&here, &keys[1], round).await;
        assert_eq!(here.get::<u32>(&keys[1]).await.unwrap(), Some(round));
        match round % 3 {
            0 => here.remove(&keys[1]).await,
            1 => here.invalidate(&KeyPattern::new("bounded:id=2")).await,
            _ => here.clear().await,
        }
        .unwrap();
        assert_eq!(here.get::<u32>(&keys[1]).await.unwrap(), None);
        let loaded = here.get_or_load(&keys[1], MINUTE, || async { 100 + round });
        assert_eq!(loaded.await, 100 + round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_to_tracking() {
    let server = RedisServer::start();
    let words = "ACL SETUSER app on >pw ~* &* +@all -client|tracking";
    let words: Vec<&str> = words.split(' ').collect();
    assert_eq!(block_in_place(|| server.cli(&words)), "OK");
    let url = format!("redis://app:pw@127.0.0.1:{}/0", server.port());
    bounded(&server, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_asks_for_resp2() {
    let server = RedisServer::start();
    let url = format!("{}?protocol=resp2", server.url());
    bounded(&server, &url).await;
}
