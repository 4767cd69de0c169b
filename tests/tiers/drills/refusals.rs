//! Servers that answer, but not what one would like.

use dexter_cache::Serving;
use support::{Client, RedisServer, Reply};
use tokio::task::block_in_place;

use super::harness::{Clears, Drill};
use crate::{MINUTE, key, patient_builder, until_back};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_to_a_replica_and_promoted_again() {
    let (server, primary) = (RedisServer::start(), RedisServer::start());
    let drill = Drill::begin_with(&server.url(), Clears::None).await;
    block_in_place(|| server.replica_of(&primary));
    drill.through_outage().await;
    block_in_place(|| server.promote());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_without_eviction() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    // Nothing but the refusals themselves may count against the server.
    let drill = Drill::begin_on(patient_builder(&server.url()), Clears::Some).await;
    let kept = key("kept", 1);
    block_in_place(|| server.cli(&["CONFIG", "SET", "maxmemory", "1"]));
    drill.calls(1500).await;
    drill.writes(60).await;
    assert_eq!(
        drill.cache.health().serving,
        Serving::Backend,
        "a server that still reads and removes is of use"
    );
    for expected in [1, 2] {
        let value = drill
            .cache
            .get_or_load(&kept, MINUTE, || async { expected })
            .await;
        assert_eq!(value, expected, "nothing is stored");
    }
    block_in_place(|| server.cli(&["CONFIG", "SET", "maxmemory", "0"]));
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_its_data() {
    let server = RedisServer::start();
    // The snapshot is of before the cache: what it brings back is nothing that was removed.
    block_in_place(|| server.save_much(6000));
    let drill = Drill::begin(&server.url()).await;
    block_in_place(|| server.restart_loading());
    drill.through_outage().await;
    block_in_place(|| server.finish_loading());
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
    assert_eq!(block_in_place(|| server.cli(&["EXISTS", "loading:1"])), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_wrong_from_the_start_and_becomes_right() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let mut admin = server.client();
    let url = server.url().replace("right", "other");
    let drill = Drill::begin(&url).await;
    drill.through_outage().await;
    set_password(&mut admin, "other");
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_changed_and_changed_back() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let mut admin = server.client();
    let drill = Drill::begin(&server.url()).await;
    set_password(&mut admin, "other");
    // Connections that are there stay logged in.
    admin.call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    drill.through_outage().await;
    set_password(&mut admin, "right");
    until_back(&drill.cache).await;
    drill.through_recovery().await;
    drill.end_and_read_elsewhere(&server.url()).await;
}

fn set_password(admin: &mut Client, password: &str) {
    let reply = admin.call(&["CONFIG", "SET", "requirepass", password]);
    assert_eq!(reply.unwrap(), Reply::Status("OK".to_owned()));
}
