//! Many reads at once, which share commands.

use std::sync::Arc;

use dexter_cache::ErrorKind;
use dexter_cache::backend::{CacheBackend, RedisBackend};
use support::RedisServer;
use tokio::task::JoinSet;

use crate::{BOUND, backend, connected, get, heal, kind, set};

const MANY: usize = 600;

async fn fill(backend: &RedisBackend) {
    for n in (0..MANY).filter(|n| n % 3 != 0) {
        let value = format!("value {n}").leak();
        set(backend, &format!("k{n}"), value).await.unwrap();
    }
}

/// Reads all keys at once, each in a task of its own.
async fn read_all(backend: &Arc<RedisBackend>) {
    let mut reads = JoinSet::new();
    for n in 0..MANY {
        let backend = Arc::clone(backend);
        reads.spawn(async move { (n, get(&backend, &format!("k{n}")).await) });
    }
    while let Some(read) = reads.join_next().await {
        let (n, value) = read.unwrap();
        let expected = (n % 3 != 0).then(|| format!("value {n}"));
        assert_eq!(value.unwrap(), expected, "k{n}");
    }
}

#[tokio::test]
async fn each_caller_gets_the_value_of_its_own_key_and_few_commands_bring_them() {
    let server = RedisServer::start();
    let backend = Arc::new(connected(&server).await);
    fill(&backend).await;
    let mut monitor = server.monitor();
    read_all(&backend).await;
    let seen = monitor.names();
    let gathered = seen.iter().filter(|name| *name == "MGET").count();
    assert!(
        gathered > 0 && seen.len() < MANY / 2,
        "{} commands",
        seen.len()
    );
}

#[tokio::test]
async fn a_few_callers_read_one_by_one() {
    let server = RedisServer::start();
    let backend = Arc::new(connected(&server).await);
    let mut monitor = server.monitor();
    let mut reads = JoinSet::new();
    for n in 0..12 {
        let backend = Arc::clone(&backend);
        reads.spawn(async move { get(&backend, &format!("k{n}")).await.unwrap() });
    }
    reads.join_all().await;
    assert_eq!(monitor.names(), ["GET"; 12]);
}

#[tokio::test]
async fn who_goes_away_takes_nothing_from_those_who_stay() {
    let server = RedisServer::start();
    let backend = Arc::new(connected(&server).await);
    fill(&backend).await;
    for _ in 0..5 {
        let mut impatient = JoinSet::new();
        for n in 0..MANY {
            let backend = Arc::clone(&backend);
            impatient.spawn(async move { drop(get(&backend, &format!("k{n}")).await) });
        }
        // On this runtime's one thread they have all begun after one turn, and none is done.
        tokio::task::yield_now().await;
        impatient.abort_all();
        read_all(&backend).await;
    }
}

#[tokio::test]
async fn where_mget_is_forbidden_every_caller_asks_for_itself() {
    let server = RedisServer::start();
    fill(&connected(&server).await).await;
    server.cli(&[
        "ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-mget",
    ]);
    let url = format!("redis://reader:secret@127.0.0.1:{}", server.port());
    let backend = Arc::new(backend(&url));
    backend.ping().await.unwrap();
    read_all(&backend).await;
    let mut monitor = server.monitor();
    read_all(&backend).await;
    assert_eq!(monitor.names(), ["GET"; MANY], "it is not tried again");
}

#[tokio::test]
async fn a_server_that_knows_no_mget_is_read_key_by_key() {
    let server = RedisServer::start_with(&["--rename-command", "MGET", "ANOTHER"]);
    let backend = Arc::new(connected(&server).await);
    fill(&backend).await;
    read_all(&backend).await;
    read_all(&backend).await;
}

#[tokio::test]
async fn all_who_wait_learn_that_the_connection_has_ended() {
    let server = RedisServer::start();
    let backend = Arc::new(connected(&server).await);
    fill(&backend).await;
    server.pause();
    let mut reads = JoinSet::new();
    for n in 0..MANY {
        let backend = Arc::clone(&backend);
        reads.spawn(async move { kind(get(&backend, &format!("k{n}")).await) });
    }
    tokio::task::yield_now().await;
    server.kill9();
    let kinds = tokio::time::timeout(BOUND, reads.join_all()).await;
    assert_eq!(kinds.expect("nobody hangs"), [ErrorKind::Unavailable; MANY]);
    server.restart();
    heal(&backend).await;
    fill(&backend).await;
    read_all(&backend).await;
}

#[test]
fn the_end_of_the_runtime_that_connected_is_the_end_of_the_connection() {
    let server = RedisServer::start();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let backend = Arc::new(backend(&server.url()));
    runtime().block_on(async {
        backend.ping().await.unwrap();
        fill(&backend).await;
        read_all(&backend).await;
    });
    runtime().block_on(async {
        let mut reads = JoinSet::new();
        for n in 0..MANY {
            let backend = Arc::clone(&backend);
            reads.spawn(async move { kind(get(&backend, &format!("k{n}")).await) });
        }
        assert_eq!(reads.join_all().await, [ErrorKind::Unavailable; MANY]);
        heal(&backend).await;
        read_all(&backend).await;
    });
}
