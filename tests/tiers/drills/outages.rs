//! Servers and networks that go away.

use std::time::Duration;

use dexter_cache::{Reach, Serving};
use support::{Proxy, RedisServer, SilentListener};
use tokio::task::block_in_place;

use super::harness::{BUDGET, Clears, Drill};
use crate::{MINUTE, key, until_back, until_lost};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_back_empty() {
    let server = RedisServer::start();
    let drill = Drill::begin(&server.url()).await;
    block_in_place(|| server.kill9());
    drill.through_outage().await;
    block_in_place(|| server.restart());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_21_restarted_empty_three_times_without_a_pause() {
    let server = RedisServer::start();
    let drill = Drill::begin(&server.url()).await;
    for _ in 0..3 {
        block_in_place(|| server.restart());
        drill.through_recovery().await;
    }
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_continued() {
    let server = RedisServer::start();
    let drill = Drill::begin_with(&server.url(), Clears::None).await;
    let stale = key("pinned", 1);
    drill.cache.set(&stale, &1, MINUTE).await.unwrap();
    block_in_place(|| server.pause());
    drill.through_outage().await;
    let removed = drill.cache.remove(&stale).await.unwrap();
    assert_eq!(removed.reach, Reach::Journaled);
    assert!(drill.cache.health().journaled > 0);
    block_in_place(|| server.resume());
    drill.through_recovery().await;
    assert_eq!(drill.cache.get::<i32>(&stale).await.unwrap(), None);
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_established_flow_frozen_while_new_ones_work() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let drill = Drill::begin_with(&proxy.url(), Clears::None).await;
    for _ in 0..2 {
        let before = proxy.accepted();
        proxy.freeze_existing();
        // Nobody waits for the kernel to notice: the flow is given up and a new one is made.
        crate::until("another connection is made", || proxy.accepted() > before).await;
        drill.through_recovery().await;
        // What was under way on the frozen flow has nowhere to land any more.
        proxy.thaw();
        drill.calls(500).await;
    }
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_cut_again_and_again() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let drill = Drill::begin(&proxy.url()).await;
    for _ in 0..5 {
        proxy.cut();
        drill.calls(300).await;
        until_back(&drill.cache).await;
    }
    proxy.refuse();
    drill.through_outage().await;
    proxy.accept_new();
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_never_answers() {
    let silent = SilentListener::start();
    let drill = Drill::begin(&silent.url()).await;
    assert_eq!(drill.cache.health().serving, Serving::Memory);
    drill.through_outage().await;
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_answers_late_in_life() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    proxy.hang_new();
    let drill = Drill::begin(&proxy.url()).await;
    drill.through_outage().await;
    proxy.accept_new();
    drill.through_recovery().await;
    proxy.hang_new();
    proxy.cut();
    until_lost(&drill.cache).await;
    drill.through_outage().await;
    proxy.accept_new();
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_21_absent_at_start_and_there_later() {
    let server = RedisServer::start();
    block_in_place(|| server.kill9());
    let drill = Drill::begin_with(&server.url(), Clears::None).await;
    drill.through_outage().await;
    block_in_place(|| server.restart());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_slower_than_the_budget() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let drill = Drill::begin_with(&proxy.url(), Clears::None).await;
    proxy.delay(BUDGET + Duration::from_millis(400));
    drill.through_outage().await;
    proxy.delay(Duration::ZERO);
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}
