//! Servers that answer, but not what one would like.

use bytes::Bytes;
use dexter_cache::backend::{CacheBackend, SetOutcome, When};
use dexter_cache::{ErrorKind, KeyPattern};
use support::RedisServer;

use crate::{MINUTE, backend, connected, get, heal, kind, set, set_when};

#[tokio::test]
async fn a_full_server_refuses_writes_and_goes_on_reading_and_removing() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let backend = connected(&server).await;
    set(&backend, "k", "v").await.unwrap();
    for key in 0..20 {
        set(&backend, &format!("big{key}"), "v").await.unwrap();
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let secret = Bytes::from_static(b"secret-value");
    let refused = backend
        .set("l", secret, MINUTE, When::Always)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OutOfMemory);
    assert!(!format!("{refused:?}").contains("secret-value"));
    for when in [When::Absent, When::Matches(b"v")] {
        assert_eq!(
            kind(set_when(&backend, "k", "w", when).await),
            ErrorKind::OutOfMemory,
            "{when:?}"
        );
    }
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    backend.ping().await.expect("it is of use as it is");
    assert_eq!(backend.remove(&["k"]).await.unwrap(), 1);
    let swept = backend
        .remove_matching(&KeyPattern::new("big*"), None)
        .await;
    assert_eq!(swept.unwrap(), 20);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    set(&backend, "k", "v").await.unwrap();
}

#[tokio::test]
async fn a_demoted_primary_is_not_ready() {
    let (server, primary) = (RedisServer::start(), RedisServer::start());
    let backend = connected(&server).await;
    set(&backend, "k", "v").await.unwrap();
    server.replica_of(&primary);
    assert_eq!(kind(set(&backend, "k", "w").await), ErrorKind::NotReady);
    assert_eq!(kind(backend.remove(&["k"]).await), ErrorKind::NotReady);
    assert_eq!(kind(backend.ping().await), ErrorKind::NotReady);
    assert_eq!(kind(backend.ping().await), ErrorKind::NotReady);
    server.promote();
    heal(&backend).await;
    set(&backend, "k", "w").await.unwrap();
}

#[tokio::test]
async fn a_replica_that_takes_writes_is_not_ready_either() {
    let (server, primary) = (RedisServer::start(), RedisServer::start());
    server.cli(&["CONFIG", "SET", "replica-read-only", "no"]);
    server.replica_of(&primary);
    assert_eq!(
        kind(backend(&server.url()).ping().await),
        ErrorKind::NotReady
    );
}

#[tokio::test]
async fn a_primary_without_enough_replicas_is_not_ready() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(kind(set(&backend, "k", "v").await), ErrorKind::NotReady);
    assert_eq!(kind(backend.ping().await), ErrorKind::NotReady);
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    heal(&backend).await;
}

#[tokio::test]
async fn a_loading_server_is_not_ready_until_it_is() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    server.save_much(6000);
    server.restart_loading();
    // The connection is new: the old one went down with the old run.
    assert_eq!(kind(backend.ping().await), ErrorKind::NotReady);
    assert_eq!(kind(backend.get("k").await), ErrorKind::Unavailable);
    server.finish_loading();
    heal(&backend).await;
    assert!(get(&backend, "loading:1").await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_house_is_not_ready() {
    let server = RedisServer::start();
    let _guest = server.client();
    // Counting starts with the connections that are there; the one that sets the limit is gone a moment later.
    server.cli(&["CONFIG", "SET", "maxclients", "1"]);
    let failed = backend(&server.url()).ping().await;
    assert!(matches!(
        kind(failed),
        ErrorKind::NotReady | ErrorKind::Unavailable
    ));
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_not_shown() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let host = format!("127.0.0.1:{}", server.port());
    for login in [":wr0ng@", "default:wr0ng@", "nobody:wr0ng@", ""] {
        for protocol in ["", "?protocol=2"] {
            let backend = backend(&format!("redis://{login}{host}{protocol}"));
            let failed = backend.ping().await.unwrap_err();
            assert_eq!(
                failed.kind(),
                ErrorKind::Denied,
                "{login} {protocol}: {failed}"
            );
            assert!(
                !format!("{failed} {failed:?} {backend:?}").contains("wr0ng"),
                "{failed:?}"
            );
        }
    }
    heal(&backend(&format!("redis://:right@{host}"))).await;
    heal(&backend(&format!(
        "redis://default:right@{host}?protocol=2"
    )))
    .await;
}

#[tokio::test]
async fn a_user_with_few_rights_has_what_they_allow() {
    let server = RedisServer::start();
    server.cli(&[
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pw",
        "~*",
        "+@all",
        "-@dangerous",
        "-@scripting",
    ]);
    let backend = backend(&server.url().replace("redis://", "redis://app:pw@"));
    let pong = backend.ping().await.unwrap();
    assert_eq!(pong.run_id, None, "INFO is among the dangerous");
    assert!(pong.clock_ms.is_some());
    set(&backend, "k", "v").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(
        set_when(&backend, "new", "v", When::Absent).await.unwrap(),
        SetOutcome::Stored
    );
    let denied = set_when(&backend, "k", "secret-value", When::Matches(b"v"))
        .await
        .unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    assert!(
        !format!("{denied:?}").contains("secret-value"),
        "{denied:?}"
    );
    server.cli(&["LPUSH", "list", "x"]);
    assert_eq!(
        set_when(&backend, "list", "v", When::Absent).await.unwrap(),
        SetOutcome::Stored
    );
    assert_eq!(
        backend
            .remove_matching(&KeyPattern::new("*"), None)
            .await
            .unwrap(),
        3
    );
    // CLIENT KILL is dangerous too: the recovery goes without.
    backend.reset();
    backend.ping().await.unwrap();
    set(&backend, "k", "v").await.unwrap();
}

#[tokio::test]
async fn a_user_with_keys_of_its_own_is_denied_the_others() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~app:*", "+@all"]);
    let backend = backend(&server.url().replace("redis://", "redis://app:pw@"));
    backend.ping().await.unwrap();
    set(&backend, "app:k", "v").await.unwrap();
    assert_eq!(kind(set(&backend, "k", "v").await), ErrorKind::Denied);
}

#[tokio::test]
async fn no_error_repeats_a_value() {
    let server = RedisServer::start_with(&["--rename-command", "SET", ""]);
    let backend = connected(&server).await;
    let failed = set(&backend, "k", "secret-value").await.unwrap_err();
    assert!(
        !format!("{failed} {failed:?}").contains("secret-value"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_node_of_a_cluster_says_what_it_is() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    for slots in ["none", "all"] {
        if slots == "all" {
            // It answers every key then, and still refuses several keys in a command.
            server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        }
        for protocol in ["", "?protocol=2"] {
            let failed = backend(&format!("{}{protocol}", server.url()))
                .ping()
                .await
                .unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Config, "{slots}: {failed}");
            assert!(failed.to_string().contains("cluster"), "{failed}");
        }
    }
}
