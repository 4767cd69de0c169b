//! The same with L1 in front of Redis: the outages that a stream of news can have.

use std::sync::Arc;

use support::{Proxy, RedisServer};
use tokio::task::block_in_place;

use super::harness::{Clears, Drill};
use super::runtimes::runtime;
use crate::{until, until_back};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_before_a_server_that_is_killed_and_comes_back_empty() {
    let server = RedisServer::start();
    let drill = Drill::begin_tiered(&server.url(), Clears::Some).await;
    block_in_place(|| server.kill9());
    drill.through_outage().await;
    block_in_place(|| server.restart());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_before_a_server_that_is_stopped_and_continued() {
    let server = RedisServer::start();
    let drill = Drill::begin_tiered(&server.url(), Clears::None).await;
    block_in_place(|| server.pause());
    drill.through_outage().await;
    block_in_place(|| server.resume());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_behind_a_flow_that_is_cut_and_frozen() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let drill = Drill::begin_tiered(&proxy.url(), Clears::Some).await;
    for round in 0..4 {
        if round % 2 == 0 {
            proxy.cut();
            drill.calls(300).await;
        } else {
            let before = proxy.accepted();
            proxy.freeze_existing();
            until("another connection is made", || proxy.accepted() > before).await;
            proxy.thaw();
        }
        until_back(&drill.cache).await;
        drill.calls(500).await;
    }
    proxy.refuse();
    drill.through_outage().await;
    proxy.accept_new();
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_before_a_server_that_is_demoted_and_promoted_again() {
    let (server, primary) = (RedisServer::start(), RedisServer::start());
    let drill = Drill::begin_tiered(&server.url(), Clears::None).await;
    block_in_place(|| server.replica_of(&primary));
    drill.through_outage().await;
    block_in_place(|| server.promote());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_before_a_server_that_is_full() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let drill = Drill::begin_tiered(&server.url(), Clears::Some).await;
    block_in_place(|| server.cli(&["CONFIG", "SET", "maxmemory", "1"]));
    drill.calls(1500).await;
    drill.writes(60).await;
    block_in_place(|| server.cli(&["CONFIG", "SET", "maxmemory", "0"]));
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_before_a_server_that_is_loading_its_data() {
    let server = RedisServer::start();
    block_in_place(|| server.save_much(6000));
    let drill = Drill::begin_tiered(&server.url(), Clears::Some).await;
    block_in_place(|| server.restart_loading());
    drill.through_outage().await;
    block_in_place(|| server.finish_loading());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[test]
fn l1_on_two_runtimes_in_a_row() {
    let server = RedisServer::start();
    let first = runtime();
    let drill = first.block_on(Drill::begin_tiered(&server.url(), Clears::Some));
    let (cache, world) = (drill.cache.clone(), Arc::clone(&drill.world));
    first.block_on(until_back(&cache));
    drop(first);
    runtime().block_on(async {
        let drill = Drill::go_on_tiered(cache, world, Clears::Some);
        drill.through_recovery().await;
        drill.end_and_read_elsewhere(&server.url()).await;
    });
}
