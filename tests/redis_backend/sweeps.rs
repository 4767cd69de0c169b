//! Removing by pattern.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use dexter_cache::backend::{CacheBackend, KeyFilter, RedisBackend, RedisConfig};
use dexter_cache::{ErrorKind, KeyPattern};
use support::{RedisServer, Reply};

use crate::{BOUND, backend, connected, get, heal, kind, set};

/// Writes `count` keys named `<prefix><n>` quickly.
fn fill(server: &RedisServer, prefix: &str, count: u32) {
    let mut client = server.client();
    for key in 0..count {
        client
            .send(&["SET", &format!("{prefix}{key}"), "v"])
            .unwrap();
    }
    for _ in 0..count {
        client.receive().unwrap();
    }
}

async fn sweep(backend: &RedisBackend, pattern: &str) -> u64 {
    backend
        .remove_matching(&KeyPattern::new(pattern), None)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_count_is_exact_and_others_stay() {
    let server = RedisServer::start();
    fill(&server, "app:user:", 5000);
    fill(&server, "app:team:", 100);
    let backend = connected(&server).await;
    assert_eq!(sweep(&backend, "app:user:*").await, 5000);
    assert_eq!(sweep(&backend, "app:user:*").await, 0);
    assert_eq!(sweep(&backend, "app:*:7").await, 1);
    assert_eq!(server.cli(&["DBSIZE"]), "99");
    assert_eq!(sweep(&backend, "*").await, 99);
}

#[tokio::test]
async fn keys_that_a_scan_names_twice_count_once() {
    let server = RedisServer::start();
    fill(&server, "k", 20_000);
    // Small steps while the table shrinks around the cursor make the server repeat itself.
    let config = RedisConfig::parse(&server.url())
        .unwrap()
        .connect_timeout(BOUND)
        .sweep_timeout(BOUND);
    let backend = RedisBackend::new(config.sweep_count(50));
    backend.ping().await.unwrap();
    assert_eq!(sweep(&backend, "k*").await, 20_000);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn the_filter_decides_about_each_key() {
    let server = RedisServer::start();
    fill(&server, "mine:", 300);
    fill(&server, "session:", 300);
    let backend = connected(&server).await;
    let mine = |key: &[u8]| key.starts_with(b"mine:");
    let filter: KeyFilter<'_> = Some(&mine);
    assert_eq!(
        backend
            .remove_matching(&KeyPattern::new("*"), filter)
            .await
            .unwrap(),
        300
    );
    assert_eq!(server.cli(&["DBSIZE"]), "300");
    let none = |_: &[u8]| false;
    assert_eq!(
        backend
            .remove_matching(&KeyPattern::new("*"), Some(&none))
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn keys_are_bytes() {
    let server = RedisServer::start();
    let keys: [&[u8]; 5] = [
        b"k\xff\xfe",
        b"k\x00",
        b"k*[?]\\",
        b"k\r\n",
        "k\u{e9}".as_bytes(),
    ];
    for key in keys {
        server.call(&[&b"SET"[..], key, b"v"]);
    }
    server.call(&[&b"SET"[..], b"\xffother", b"v"]);
    let backend = connected(&server).await;
    assert_eq!(sweep(&backend, &KeyPattern::escape("k*[?]\\")).await, 1);
    assert_eq!(
        sweep(&backend, "k?").await,
        1,
        "a question mark is one byte"
    );
    assert_eq!(sweep(&backend, "k*").await, 3);
    assert_eq!(
        server.call(&[&b"GET"[..], b"\xffother"]),
        Reply::Bulk(b"v".to_vec())
    );
    assert_eq!(
        backend
            .remove_matching(&KeyPattern::new(b"\xff*"), None)
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn it_scans_and_unlinks_on_a_connection_of_its_own() {
    let server = RedisServer::start();
    fill(&server, "k", 3000);
    let backend = connected(&server).await;
    let mut monitor = server.monitor();
    backend.get("k1").await.unwrap();
    sweep(&backend, "k*").await;
    let seen = monitor.take();
    let data = seen
        .iter()
        .find(|seen| seen.name() == "GET")
        .unwrap()
        .from
        .clone();
    for seen in &seen {
        assert!(
            !["KEYS", "FLUSHDB", "FLUSHALL", "EVAL", "EVALSHA", "DEL"].contains(&seen.name()),
            "{seen:?}"
        );
        if ["SCAN", "UNLINK"].contains(&seen.name()) {
            assert_ne!(seen.from, data);
            assert!(seen.args.len() <= 501);
        }
    }
    let scan = seen.iter().find(|seen| seen.name() == "SCAN").unwrap();
    assert_eq!(scan.args, ["SCAN", "0", "MATCH", "k*", "COUNT", "1000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_at_the_start_goes_whatever_is_written_meanwhile() {
    let server = RedisServer::start();
    fill(&server, "old:", 5000);
    let backend = Arc::new(connected(&server).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (backend, stop) = (backend.clone(), stop.clone());
        async move {
            let mut written = 0;
            while !stop.load(Ordering::SeqCst) {
                set(&backend, &format!("old:new{written}"), "v")
                    .await
                    .unwrap();
                set(&backend, &format!("other:{written}"), "v")
                    .await
                    .unwrap();
                written += 1;
            }
            written
        }
    });
    let removed = sweep(&backend, "old:*").await;
    stop.store(true, Ordering::SeqCst);
    let written = writer.await.unwrap();
    assert!(removed >= 5000);
    let left = u64::try_from(server.cli(&["KEYS", "old:*"]).lines().count()).unwrap();
    assert_eq!(removed + left, 5000 + written);
    assert!(
        !server
            .cli(&["KEYS", "old:*"])
            .lines()
            .any(|key| !key.starts_with("old:new"))
    );
    assert_eq!(
        u64::try_from(server.cli(&["KEYS", "other:*"]).lines().count()).unwrap(),
        written
    );
}

#[tokio::test]
async fn a_server_that_stops_ends_a_sweep_in_bounded_time() {
    let server = RedisServer::start();
    fill(&server, "k", 3000);
    let config = RedisConfig::parse(&server.url())
        .unwrap()
        .connect_timeout(BOUND);
    let backend = RedisBackend::new(config.sweep_timeout(Duration::from_millis(200)));
    backend.ping().await.unwrap();
    let stop = |_: &[u8]| {
        if !server.cli(&["PING"]).is_empty() {
            server.pause();
        }
        true
    };
    let paused = AtomicBool::new(false);
    let once = |key: &[u8]| paused.swap(true, Ordering::SeqCst) || stop(key);
    let swept = tokio::time::timeout(
        BOUND,
        backend.remove_matching(&KeyPattern::new("k*"), Some(&once)),
    )
    .await;
    assert_eq!(kind(swept.expect("it is bounded")), ErrorKind::Timeout);
    server.resume();
    sweep(&connected(&server).await, "k*").await;
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn without_a_connection_it_fails_and_never_says_zero() {
    let server = RedisServer::start();
    let backend = backend(&server.url());
    let pattern = KeyPattern::new("*");
    assert_eq!(
        kind(backend.remove_matching(&pattern, None).await),
        ErrorKind::Unavailable
    );
    backend.ping().await.unwrap();
    server.kill9();
    assert_eq!(
        kind(backend.remove_matching(&pattern, None).await),
        ErrorKind::Unavailable
    );
}

#[tokio::test]
async fn sweeps_take_turns() {
    let server = RedisServer::start();
    fill(&server, "k", 3000);
    let backend = connected(&server).await;
    let (pattern, other) = (KeyPattern::new("k*"), KeyPattern::new("*"));
    let mut monitor = server.monitor();
    let (first, second) = tokio::join!(
        backend.remove_matching(&pattern, None),
        backend.remove_matching(&other, None)
    );
    assert_eq!(first.unwrap() + second.unwrap(), 3000);
    let mut patterns: Vec<String> = monitor
        .take()
        .into_iter()
        .filter(|seen| seen.name() == "SCAN")
        .map(|seen| seen.args[3].clone())
        .collect();
    patterns.dedup();
    assert_eq!(patterns, ["k*", "*"]);
}

/// A log-in that is refused is no refusal of the sweep: it may be done once the password is right again.
#[tokio::test]
async fn a_changed_password_makes_it_unavailable_and_not_denied() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let mut admin = server.client();
    let backend = connected(&server).await;
    let reply = admin.call(&["CONFIG", "SET", "requirepass", "other"]);
    assert_eq!(reply.unwrap(), Reply::Status("OK".to_owned()));
    let failed = backend.remove_matching(&KeyPattern::new("*"), None).await;
    assert_eq!(kind(failed), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_sweep_that_stands_still_keeps_no_other_from_its_turn() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&server.url()).unwrap();
    let backend = RedisBackend::new(config.connect_timeout(Duration::from_secs(2)));
    heal(&backend).await;
    set(&backend, "a:1", "v").await.unwrap();
    let pattern = KeyPattern::new("a:*");
    let mut still = Box::pin(backend.remove_matching(&pattern, None));
    let begun = poll_fn(|cx| Poll::Ready(still.as_mut().poll(cx).is_pending()));
    assert!(begun.await, "it has its turn, and is not driven any more");
    let next = async {
        // A busy machine may need more than one.
        while backend.remove_matching(&pattern, None).await.is_err() {}
    };
    let next = tokio::time::timeout(BOUND, next).await;
    next.expect("it is not waited for");
    assert_eq!(get(&backend, "a:1").await.unwrap(), None);
}
