//! What the server is asked, and what it is asked for.

use std::time::Duration;

use bytes::Bytes;
use dexter_cache::ErrorKind;
use dexter_cache::backend::{CacheBackend, SetOutcome, When};
use support::{RedisServer, Reply};

use crate::{MINUTE, connected, get, kind, set, set_when};

#[tokio::test]
async fn a_hit_is_one_command() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    set(&backend, "k", "v").await.unwrap();
    let mut monitor = server.monitor();
    get(&backend, "k").await.unwrap();
    get(&backend, "none").await.unwrap();
    assert_eq!(monitor.names(), ["GET", "GET"]);
}

#[tokio::test]
async fn writes_are_one_command_each() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    let mut monitor = server.monitor();
    set(&backend, "k", "v").await.unwrap();
    set_when(&backend, "k", "w", When::Absent).await.unwrap();
    set_when(&backend, "l", "w", When::Absent).await.unwrap();
    backend.remove(&["k", "l"]).await.unwrap();
    let seen: Vec<String> = monitor
        .take()
        .iter()
        .map(|seen| seen.args.join(" "))
        .collect();
    assert_eq!(
        seen,
        [
            "SET k v PX 60000",
            "SET k w PX 60000 NX GET",
            "SET l w PX 60000 NX GET",
            "UNLINK k l",
        ]
    );
}

#[tokio::test]
async fn absent_gives_back_what_is_there() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    assert_eq!(
        set_when(&backend, "k", "first", When::Absent)
            .await
            .unwrap(),
        SetOutcome::Stored
    );
    let there = SetOutcome::Refused(Some(Bytes::from_static(b"first")));
    assert_eq!(
        set_when(&backend, "k", "second", When::Absent)
            .await
            .unwrap(),
        there
    );
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("first"));
}

#[tokio::test]
async fn matches_compares_the_beginning_and_nothing_else() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    let refused = SetOutcome::Refused(None);
    for prefix in [&b""[..], b"x"] {
        let when = When::Matches(prefix);
        assert_eq!(
            set_when(&backend, "none", "w", when).await.unwrap(),
            refused,
            "nothing begins with {prefix:?}"
        );
    }
    for (there, prefix, stored) in [
        (&b"token:payload"[..], &b"token:"[..], true),
        (b"token:payload", b"token:payload", true),
        (b"token:payload", b"token:payload!", false),
        (b"token:payload", b"oken", false),
        (b"token", b"", true),
        (b"", b"", true),
        (b"", b"x", false),
        (b"\x00\xff\r\n*", b"\x00\xff\r\n", true),
        (b"\x00\xff\r\n*", b"\x00\xfe", false),
    ] {
        server.call(&[&b"SET"[..], b"k", there]);
        let when = When::Matches(prefix);
        let outcome = set_when(&backend, "k", "new", when).await.unwrap();
        assert_eq!(
            outcome == SetOutcome::Stored,
            stored,
            "{there:?} {prefix:?}"
        );
        let expected = if stored { b"new" } else { there };
        assert_eq!(
            server.call(&[&b"GET"[..], b"k"]),
            Reply::Bulk(expected.to_vec())
        );
    }
    assert!(server.cli(&["PTTL", "none"]).starts_with("-2"));
}

#[tokio::test]
async fn a_script_is_sent_once_and_again_when_the_server_forgot_it() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    set(&backend, "k", "v").await.unwrap();
    let mut monitor = server.monitor();
    for _ in 0..2 {
        set_when(&backend, "k", "v", When::Matches(b"v"))
            .await
            .unwrap();
    }
    server.cli(&["SCRIPT", "FLUSH"]);
    set_when(&backend, "k", "v", When::Matches(b"v"))
        .await
        .unwrap();
    let names: Vec<String> = monitor
        .take()
        .into_iter()
        .filter(|seen| seen.from != "lua")
        .map(|seen| seen.name().to_owned())
        .collect();
    assert_eq!(
        names,
        ["EVALSHA", "EVAL", "EVALSHA", "SCRIPT", "EVALSHA", "EVAL"]
    );
}

#[tokio::test]
async fn another_type_is_an_error_to_get_and_nothing_to_absent() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    server.cli(&["LPUSH", "k", "x"]);
    assert_eq!(kind(backend.get("k").await), ErrorKind::WrongType);
    assert_eq!(backend.get_many(&["k"]).await.unwrap(), [None]);
    assert_eq!(
        set_when(&backend, "k", "w", When::Matches(b""))
            .await
            .unwrap(),
        SetOutcome::Refused(None)
    );
    assert_eq!(server.cli(&["TYPE", "k"]), "list");
    assert_eq!(
        set_when(&backend, "k", "v", When::Absent).await.unwrap(),
        SetOutcome::Stored
    );
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    assert_ne!(server.cli(&["PTTL", "k"]), "-1");
    server.cli(&["DEL", "k"]);
    server.cli(&["LPUSH", "k", "x"]);
    set(&backend, "k", "w").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("w"));
}

#[tokio::test]
async fn many_keys_are_read_and_removed_in_batches() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    let keys: Vec<String> = (0..1201).map(|key| format!("k{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for key in keys.iter().step_by(2) {
        backend
            .set(
                key,
                Bytes::copy_from_slice(key.as_bytes()),
                MINUTE,
                When::Always,
            )
            .await
            .unwrap();
    }
    let mut monitor = server.monitor();
    let values = backend.get_many(&keys).await.unwrap();
    for (index, (key, value)) in keys.iter().zip(&values).enumerate() {
        assert_eq!(
            value.as_deref(),
            (index % 2 == 0).then_some(key.as_bytes()),
            "{key}"
        );
    }
    assert_eq!(backend.remove(&keys).await.unwrap(), 601);
    assert_eq!(
        monitor.names(),
        ["MGET", "MGET", "MGET", "UNLINK", "UNLINK", "UNLINK"]
    );
    assert_eq!(backend.get_many(&[]).await.unwrap(), []);
    assert_eq!(backend.remove(&[]).await.unwrap(), 0);
    assert_eq!(monitor.names(), Vec::<String>::new());
}

#[tokio::test]
async fn any_ttl_is_taken() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    for ttl in [Duration::ZERO, Duration::from_nanos(1)] {
        backend
            .set("k", Bytes::from_static(b"v"), ttl, When::Always)
            .await
            .unwrap();
        support::wait_until("it expires", MINUTE, || server.cli(&["EXISTS", "k"]) == "0");
    }
    let mut monitor = server.monitor();
    backend
        .set(
            "k",
            Bytes::from_static(b"v"),
            Duration::from_micros(1500),
            When::Always,
        )
        .await
        .unwrap();
    assert_eq!(
        monitor.take()[0].args[4],
        "2",
        "never earlier than asked for"
    );
    backend
        .set("k", Bytes::from_static(b"v"), Duration::MAX, When::Always)
        .await
        .unwrap();
    let left: u64 = server.cli(&["PTTL", "k"]).parse().unwrap();
    assert!(left > 9 * 365 * 24 * 3600 * 1000);
}

#[tokio::test]
async fn any_bytes_come_back() {
    let server = RedisServer::start();
    let backend = connected(&server).await;
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for value in [&b""[..], b"OK", b"\r\n", b"$-1\r\n", &all] {
        backend
            .set(
                "k \u{e9}\n*",
                Bytes::copy_from_slice(value),
                MINUTE,
                When::Always,
            )
            .await
            .unwrap();
        assert_eq!(backend.get("k \u{e9}\n*").await.unwrap().unwrap(), value);
    }
}

#[tokio::test]
async fn a_server_without_unlink_deletes() {
    let server = RedisServer::start_with(&["--rename-command", "UNLINK", ""]);
    let backend = connected(&server).await;
    for key in ["a", "b", "c"] {
        set(&backend, key, "v").await.unwrap();
    }
    let mut monitor = server.monitor();
    assert_eq!(backend.remove(&["a", "none"]).await.unwrap(), 1);
    assert_eq!(backend.remove(&["b"]).await.unwrap(), 1);
    assert_eq!(
        monitor.names().iter().filter(|name| *name == "DEL").count(),
        2
    );
    assert_eq!(
        backend
            .remove_matching(&dexter_cache::KeyPattern::new("*"), None)
            .await
            .unwrap(),
        1
    );
}
