//! Servers that are older than the one the tests start, played by a fake one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dexter_cache::ErrorKind;
use dexter_cache::backend::{CacheBackend, SetOutcome, When};
use support::FakeRedis;

use crate::{backend, get, kind, set, set_when};

/// The words of a command as text, those of its name in upper case.
fn words(command: &[Vec<u8>]) -> Vec<String> {
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    command.iter().map(text).collect()
}

fn error(text: &str) -> Option<Vec<u8>> {
    Some(format!("-{text}\r\n").into_bytes())
}

/// Before Redis 4: no `HELLO`, no `UNLINK`, no `CLIENT ID`, no `SET … NX GET`, and scripts that nobody has seen.
fn ancient(command: &[Vec<u8>]) -> Option<Vec<u8>> {
    let words = words(command);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["HELLO" | "UNLINK", ..] => error("ERR unknown command 'X'"),
        ["CLIENT", "SETNAME", ..] => None,
        ["CLIENT", ..] => error("ERR Syntax error, try CLIENT (LIST | KILL ip:port)"),
        ["SET", .., "NX", "GET"] => error("ERR syntax error"),
        ["GET", "none"] => Some(b"$-1\r\n".to_vec()),
        ["GET", ..] => Some(FakeRedis::bulk(b"v")),
        ["EVALSHA", ..] => error("NOSCRIPT No matching script. Please use EVAL."),
        // There is something under this key.
        ["EVAL", _, "1", "held", ..] => Some(FakeRedis::bulk(b"v")),
        ["EVAL", ..] => Some(b"$-1\r\n".to_vec()),
        ["DEL", ..] => Some(b":1\r\n".to_vec()),
        ["SCAN", "0", ..] => {
            let page = b"*2\r\n$1\r\n7\r\n*1\r\n$1\r\na\r\n";
            Some(page.to_vec())
        }
        ["SCAN", ..] => Some(b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n".to_vec()),
        _ => None,
    }
}

#[tokio::test]
async fn an_ancient_server_does_all_there_is_to_do() {
    let server = FakeRedis::start(ancient);
    let backend = backend(&server.url());
    let pong = backend.ping().await.unwrap();
    assert!(pong.run_id.is_some() && !pong.watching);
    set(&backend, "k", "v").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(get(&backend, "none").await.unwrap(), None);
    for _ in 0..2 {
        let there = SetOutcome::Refused(Some(Bytes::from_static(b"v")));
        let outcome = set_when(&backend, "held", "w", When::Absent).await;
        assert_eq!(outcome.unwrap(), there);
        let outcome = set_when(&backend, "free", "w", When::Absent).await;
        assert_eq!(outcome.unwrap(), SetOutcome::Stored);
    }
    // One plain one and one that the server did not take; it was not asked that again.
    assert_eq!(server.count("SET"), 2);
    assert_eq!(backend.remove(&["k"]).await.unwrap(), 1);
    assert_eq!(backend.remove(&["k"]).await.unwrap(), 1);
    let all = dexter_cache::KeyPattern::new("*");
    assert_eq!(backend.remove_matching(&all, None).await.unwrap(), 2);
    backend.reset();
    backend.ping().await.unwrap();
    set(&backend, "k", "v").await.unwrap();
}

/// A service that outlives the upgrade of its server gets what the new one can do.
#[tokio::test]
async fn a_server_that_has_learnt_resp3_is_spoken_to_in_resp3() {
    let upgraded = Arc::new(AtomicBool::new(false));
    let server = FakeRedis::start({
        let upgraded = Arc::clone(&upgraded);
        move |command| {
            if upgraded.load(Ordering::SeqCst) {
                None
            } else {
                ancient(command)
            }
        }
    });
    let backend = backend(&server.url());
    let ear: std::sync::Weak<Deaf> = std::sync::Weak::new();
    assert!(backend.watch("app:", ear));
    assert!(!backend.ping().await.unwrap().watching);
    upgraded.store(true, Ordering::SeqCst);
    backend.reset();
    assert!(backend.ping().await.unwrap().watching);
}

struct Deaf;

impl dexter_cache::backend::Watcher for Deaf {
    fn changed(&self, _: &[u8]) {}
    fn flushed(&self) {}
    fn lost(&self) {}
}

#[tokio::test]
async fn numbers_that_no_server_tells_do_no_harm() {
    let server = FakeRedis::start(|command| {
        let words = words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let largest = i64::MAX.to_string();
        match words.as_slice() {
            ["TIME"] => {
                Some(format!("*2\r\n${0}\r\n{largest}\r\n$1\r\n0\r\n", largest.len()).into_bytes())
            }
            ["INFO", ..] => {
                let info = format!("run_id:fake\r\nuptime_in_seconds:{}\r\n", u64::MAX);
                Some(FakeRedis::bulk(info.as_bytes()))
            }
            _ => None,
        }
    });
    let backend = backend(&server.url());
    let pong = backend.ping().await.unwrap();
    assert_eq!(pong.clock_ms, None);
    assert!(pong.uptime > Some(std::time::Duration::from_secs(u64::MAX - 1)));
}

#[tokio::test]
async fn scar_3_each_class_of_error_is_an_outage_or_is_none() {
    use ErrorKind::{Config, Denied, NotReady, OutOfMemory, WrongType};
    for (says, is) in [
        ("LOADING Redis is loading the dataset in memory", NotReady),
        (
            "READONLY You can't write against a read only replica.",
            NotReady,
        ),
        ("BUSY Redis is busy running a script.", NotReady),
        ("MASTERDOWN Link with MASTER is down", NotReady),
        ("CLUSTERDOWN Hash slot not served", NotReady),
        ("ERR max number of clients reached", NotReady),
        ("NOAUTH Authentication required.", NotReady),
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            OutOfMemory,
        ),
        (
            "NOPERM this user has no permissions to run the command",
            Denied,
        ),
        (
            "WRONGTYPE Operation against a key holding the wrong kind",
            WrongType,
        ),
        ("MOVED 3999 127.0.0.1:6381", Config),
        ("ASK 3999 127.0.0.1:6381", Config),
        (
            "CROSSSLOT Keys in request don't hash to the same slot",
            Config,
        ),
    ] {
        let server = FakeRedis::start(move |command| match words(command)[0].as_str() {
            "GET" | "MGET" | "SET" | "EVALSHA" => error(says),
            "UNLINK" if words(command)[1] == "k" => error(says),
            _ => None,
        });
        let backend = backend(&server.url());
        backend.ping().await.unwrap();
        assert_eq!(kind(backend.get("k").await), is, "{says}");
        assert_eq!(kind(backend.get_many(&["k"]).await), is, "{says}");
        assert_eq!(kind(set(&backend, "k", "v").await), is, "{says}");
        assert_eq!(kind(backend.remove(&["k"]).await), is, "{says}");
        let when = set_when(&backend, "k", "v", When::Matches(b"v")).await;
        assert_eq!(kind(when), is, "{says}");
    }
}
