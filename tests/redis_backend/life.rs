//! How connections come and go.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::backend::{CacheBackend, RedisBackend, RedisConfig};
use dexter_cache::{ErrorKind, KeyPattern};
use support::{Proxy, RedisServer, SilentListener};

use crate::{BOUND, backend, connected, get, hasty, heal, kind, set};

#[tokio::test]
async fn nothing_works_before_the_first_ping() {
    let server = RedisServer::start();
    let backend = backend(&server.url());
    assert_eq!(kind(backend.get("k").await), ErrorKind::Unavailable);
    assert_eq!(kind(set(&backend, "k", "v").await), ErrorKind::Unavailable);
    backend.ping().await.unwrap();
    set(&backend, "k", "v").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn a_ping_tells_the_clock_and_the_run() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    let (first, second) = (backend.ping().await.unwrap(), backend.ping().await.unwrap());
    assert!(first.clock_ms.unwrap() > 1_700_000_000_000);
    assert!(second.clock_ms >= first.clock_ms);
    assert!(
        server
            .cli(&["INFO", "server"])
            .contains(&first.run_id.clone().unwrap())
    );
    server.restart();
    heal(&backend).await;
    assert_ne!(backend.ping().await.unwrap().run_id, first.run_id);
}

#[tokio::test]
async fn an_absent_server_is_unavailable_and_found_when_it_appears() {
    let server = RedisServer::start();
    server.kill9();
    let backend = backend(&server.url());
    assert_eq!(kind(backend.ping().await), ErrorKind::Unavailable);
    assert_eq!(kind(backend.get("k").await), ErrorKind::Unavailable);
    server.restart();
    heal(&backend).await;
    assert_eq!(get(&backend, "k").await.unwrap(), None);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_unavailable() {
    let failed = hasty("redis://no-such-host.invalid").ping().await;
    // A resolver that cannot be reached takes its time.
    assert!(matches!(
        kind(failed),
        ErrorKind::Unavailable | ErrorKind::Timeout
    ));
}

#[tokio::test]
async fn a_killed_server_is_unavailable_until_it_is_back() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    set(&backend, "k", "v").await.unwrap();
    server.kill9();
    assert_eq!(kind(backend.get("k").await), ErrorKind::Unavailable);
    assert_eq!(kind(backend.ping().await), ErrorKind::Unavailable);
    server.restart();
    heal(&backend).await;
    assert_eq!(get(&backend, "k").await.unwrap(), None);
}

#[tokio::test]
async fn a_peer_that_never_answers_costs_one_connect_timeout() {
    let silent = SilentListener::start();
    let backend = hasty(&silent.url());
    let failed = tokio::time::timeout(BOUND, backend.ping())
        .await
        .expect("a ping is bounded");
    assert_eq!(kind(failed), ErrorKind::Timeout);
}

#[tokio::test]
async fn pings_at_the_same_time_share_an_attempt() {
    let silent = SilentListener::start();
    let backend = Arc::new(hasty(&silent.url()));
    let pings: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn({
                let backend = backend.clone();
                async move { backend.ping().await }
            })
        })
        .collect();
    for ping in pings {
        assert_eq!(
            kind(
                tokio::time::timeout(BOUND, ping)
                    .await
                    .expect("shared")
                    .unwrap()
            ),
            ErrorKind::Timeout
        );
    }
    // The first ran alone, and all that waited for it ran as one.
    assert!(silent.accepted() <= 2, "{} attempts", silent.accepted());
}

#[tokio::test]
async fn a_stopped_server_fails_pings_in_bounded_time_and_is_used_again() {
    let server = RedisServer::start();
    let backend = hasty(&server.url());
    heal(&backend).await;
    set(&backend, "k", "v").await.unwrap();
    server.pause();
    let failed = tokio::time::timeout(BOUND, backend.ping())
        .await
        .expect("a ping is bounded");
    assert_eq!(kind(failed), ErrorKind::Timeout);
    assert_eq!(
        kind(backend.get("k").await),
        ErrorKind::Unavailable,
        "the failed ping took the connection away"
    );
    server.resume();
    heal(&backend).await;
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn a_reset_fails_what_is_under_way() {
    let server = RedisServer::start();
    let backend = Arc::new(connected(&server).await);
    server.pause();
    let under_way: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let backend = backend.clone();
                async move { backend.get("k").await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    backend.reset();
    for get in under_way {
        let failed = tokio::time::timeout(BOUND, get)
            .await
            .expect("a reset ends it")
            .unwrap();
        assert_eq!(kind(failed), ErrorKind::Unavailable);
    }
    backend.reset();
    server.resume();
    heal(&backend).await;
}

#[tokio::test]
async fn a_reset_while_connecting_leaves_nothing_connected() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    proxy.delay(Duration::from_millis(100));
    let backend = Arc::new(backend(&proxy.url()));
    let ping = tokio::spawn({
        let backend = backend.clone();
        async move { backend.ping().await }
    });
    while proxy.accepted() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    backend.reset();
    assert!(ping.await.unwrap().is_err());
    assert_eq!(kind(backend.get("k").await), ErrorKind::Unavailable);
    proxy.delay(Duration::ZERO);
    heal(&backend).await;
}

#[tokio::test]
async fn whoever_has_all_the_time_in_the_world_connects_too() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&server.url()).unwrap();
    let config = config.connect_timeout(Duration::MAX);
    let backend = RedisBackend::new(config.sweep_timeout(Duration::MAX));
    backend.ping().await.unwrap();
    set(&backend, "k", "v").await.unwrap();
    let all = KeyPattern::new("*");
    assert_eq!(backend.remove_matching(&all, None).await.unwrap(), 1);
}

/// As when it belongs to a runtime that nobody drives any more: between two `block_on`, for one.
#[tokio::test]
async fn a_ping_that_stands_still_keeps_no_other_from_connecting() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    proxy.hang_new();
    let backend = backend(&proxy.url());
    let mut still = Box::pin(backend.ping());
    while proxy.accepted() == 0 {
        let moving = tokio::time::timeout(Duration::from_millis(1), &mut still);
        assert!(moving.await.is_err(), "nobody answers");
    }
    proxy.accept_new();
    let ping = tokio::time::timeout(BOUND / 2, backend.ping());
    ping.await.expect("it is not waited for").unwrap();
    set(&backend, "k", "v").await.unwrap();
    // Nor does it take away what is in use once it moves.
    drop(still);
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
}

#[test]
fn a_connection_ends_with_its_runtime_and_the_next_runtime_makes_another() {
    let server = RedisServer::start();
    let backend = backend(&server.url());
    for _ in 0..3 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            assert_eq!(kind(backend.get("k").await), ErrorKind::Unavailable);
            heal(&backend).await;
            set(&backend, "k", "v").await.unwrap();
        });
        drop(runtime);
        let other = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        assert_eq!(
            kind(other.block_on(backend.get("k"))),
            ErrorKind::Unavailable
        );
    }
}

#[tokio::test]
async fn a_server_without_resp3_is_spoken_to_in_resp2() {
    let server =
        RedisServer::start_with(&["--requirepass", "s3cret", "--rename-command", "HELLO", ""]);
    let backend = backend(&server.url());
    heal(&backend).await;
    set(&backend, "k", "v").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(get(&backend, "none").await.unwrap(), None);

    // The server repeats the arguments of a command that it does not know.
    let insisting = crate::backend(&format!("{}?protocol=3", server.url()));
    let failed = insisting.ping().await.unwrap_err();
    assert!(
        !format!("{failed} {failed:?}").contains("s3cret"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn databases_are_apart() {
    let server = RedisServer::start();
    let first = connected(&server).await;
    let third = backend(&server.url().replace("/0", "/3"));
    heal(&third).await;
    set(&third, "k", "v").await.unwrap();
    assert_eq!(get(&first, "k").await.unwrap(), None);
    assert_eq!(
        kind(backend(&server.url().replace("/0", "/99")).ping().await),
        ErrorKind::Config
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_does_as_well_as_tcp() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("redis.sock");
    let _server = RedisServer::start_with(&["--unixsocket", path.to_str().unwrap()]);
    let backend = backend(&format!("unix://{}?db=1", path.display()));
    heal(&backend).await;
    set(&backend, "k", "v").await.unwrap();
    backend.reset();
    heal(&backend).await;
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
}
