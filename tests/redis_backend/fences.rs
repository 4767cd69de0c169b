//! What hung in the network while another connection was made must not take effect any more.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::ErrorKind;
use dexter_cache::KeyPattern;
use dexter_cache::backend::{CacheBackend, KeyFilter, RedisBackend, RedisConfig};
use support::{Proxy, RedisServer, wait_until};

use crate::{BOUND, backend, get, hasty, heal, kind, set};

/// How often the server was asked to end a connection. `MONITOR` does not tell.
fn kills(server: &RedisServer) -> u32 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_client|kill:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Freezes the flow of `backend` and leaves a `SET k late` in it.
async fn hang_a_write(backend: &Arc<RedisBackend>, proxy: &Proxy) {
    proxy.freeze_existing();
    let write = tokio::spawn({
        let backend = backend.clone();
        async move { set(&backend, "k", "late").await }
    });
    let held = tokio::time::timeout(BOUND, async {
        while proxy.held() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    held.await.expect("the write reaches the proxy");
    backend.reset();
    assert_eq!(kind(write.await.unwrap()), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_write_in_a_frozen_flow_never_lands_after_the_next_ping() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let backend = Arc::new(backend(&proxy.url()));
    heal(&backend).await;
    set(&backend, "k", "early").await.unwrap();
    hang_a_write(&backend, &proxy).await;

    heal(&backend).await;
    // The point from which on nothing may come back.
    assert_eq!(backend.remove(&["k"]).await.unwrap(), 1);
    proxy.thaw();
    wait_until("the old flow has ended", BOUND, || proxy.open() == 1);
    assert_eq!(get(&backend, "k").await.unwrap(), None);
    assert_eq!(server.cli(&["EXISTS", "k"]), "0");
}

#[tokio::test]
async fn every_earlier_connection_is_ended_not_only_the_last() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let backend = Arc::new(hasty(&proxy.url()));
    heal(&backend).await;
    for _ in 0..3 {
        hang_a_write(&backend, &proxy).await;
        // The next connection is frozen in turn.
        proxy.hang_new();
        assert!(backend.ping().await.is_err());
        proxy.accept_new();
        heal(&backend).await;
    }
    assert_eq!(server.cli(&["EXISTS", "k"]), "0");
    proxy.thaw();
    wait_until("the old flows have ended", BOUND, || proxy.open() == 1);
    assert_eq!(get(&backend, "k").await.unwrap(), None);
    // One connection of the backend, and the one that asks.
    wait_until("only two connections are left", BOUND, || {
        server.cli(&["CLIENT", "LIST"]).lines().count() == 2
    });
}

#[tokio::test]
async fn a_connection_of_an_earlier_run_is_left_alone() {
    let server = RedisServer::start();
    let backend = backend(&server.url());
    heal(&backend).await;
    server.restart();
    heal(&backend).await;
    assert_eq!(
        kills(&server),
        0,
        "ids start again with a restart: the old one may be somebody else's by now"
    );
    backend.reset();
    heal(&backend).await;
    assert_eq!(kills(&server), 1);
}

#[tokio::test]
async fn a_sweep_that_timed_out_is_ended_by_the_next_ping() {
    let server = RedisServer::start();
    for key in 0..50 {
        server.cli(&["SET", &format!("k{key}"), "v"]);
    }
    let config = RedisConfig::parse(&server.url())
        .unwrap()
        .connect_timeout(BOUND);
    let backend = RedisBackend::new(config.sweep_timeout(Duration::from_millis(100)));
    backend.ping().await.unwrap();
    let stop = |_: &[u8]| {
        server.pause();
        true
    };
    let filter: KeyFilter<'_> = Some(&stop);
    let swept = tokio::time::timeout(
        BOUND,
        backend.remove_matching(&KeyPattern::new("k*"), filter),
    )
    .await;
    assert_eq!(kind(swept.expect("a sweep is bounded")), ErrorKind::Timeout);
    server.resume();
    assert_eq!(kills(&server), 0);
    backend.ping().await.unwrap();
    assert_eq!(kills(&server), 1);
    assert_eq!(
        server
            .cli(&["CLIENT", "LIST"])
            .lines()
            .filter(|line| line.contains("name=dexter-cache"))
            .count(),
        1
    );
}
