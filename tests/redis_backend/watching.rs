//! Being told of changes: in which order, of which keys, and until when.

use std::sync::{Arc, Mutex, Weak};

use dexter_cache::backend::{CacheBackend, RedisBackend, RedisConfig, Watcher};
use dexter_cache::{Error, KeyPattern};
use support::{Proxy, RedisServer};
use tokio::task::block_in_place;

use crate::{BOUND, connected, get, heal, set};

#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Ear {
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn hear(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
}

impl Watcher for Ear {
    fn changed(&self, key: &[u8]) {
        self.hear(std::str::from_utf8(key).unwrap());
    }

    fn flushed(&self) {
        self.hear("(flushed)");
    }

    fn lost(&self) {
        self.hear("(lost)");
    }
}

/// A backend whose changes below `app:` are told, before its first ping.
fn watched(url: &str) -> (RedisBackend, Arc<Ear>) {
    let config = RedisConfig::parse(url).unwrap();
    let backend = RedisBackend::new(config.connect_timeout(BOUND).sweep_timeout(BOUND));
    let ear = Arc::new(Ear::default());
    let weak: Weak<Ear> = Arc::downgrade(&ear);
    assert!(backend.watch("app:", weak));
    (backend, ear)
}

async fn watching(url: &str) -> (RedisBackend, Arc<Ear>) {
    let (backend, ear) = watched(url);
    assert!(backend.ping().await.unwrap().watching);
    (backend, ear)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_before_the_answer_to_what_was_asked_after_it() {
    let server = RedisServer::start();
    let (here, ear) = watching(&server.url()).await;
    let there = connected(&server).await;
    for round in 0..300 {
        let key = format!("app:{}", round % 7);
        set(&there, &key, "v").await.unwrap();
        get(&here, "app:other").await.unwrap();
        assert_eq!(ear.heard(), [key.as_str()]);
        there.remove(&[&key]).await.unwrap();
        here.get_many(&["app:other"]).await.unwrap();
        assert_eq!(ear.heard(), [key]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_are_told_and_other_prefixes_are_not() {
    let server = RedisServer::start();
    let (here, ear) = watching(&server.url()).await;
    set(&here, "app:1", "v").await.unwrap();
    set(&here, "apple:1", "v").await.unwrap();
    here.ping().await.unwrap();
    assert_eq!(ear.heard(), ["app:1"]);
    let removed = here.remove_matching(&KeyPattern::new("app*"), None).await;
    assert_eq!(removed.unwrap(), 2);
    here.ping().await.unwrap();
    assert_eq!(ear.heard(), ["app:1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_told_as_any_key() {
    let server = RedisServer::start();
    let (here, ear) = watching(&server.url()).await;
    for command in ["FLUSHDB", "FLUSHALL"] {
        block_in_place(|| server.cli(&[command]));
        here.ping().await.unwrap();
        assert_eq!(ear.heard(), ["(flushed)"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_connection_is_told_once_and_the_next_one_tells_again() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let (here, ear) = watching(&proxy.url()).await;
    for how in 0..4 {
        match how {
            0 => here.reset(),
            1 => proxy.cut(),
            2 => block_in_place(|| server.restart()),
            _ => drop(block_in_place(|| {
                server.cli(&["CLIENT", "KILL", "TYPE", "normal"])
            })),
        }
        // Nobody asks anything: it is noticed all the same.
        let noticed = tokio::time::timeout(BOUND, async {
            loop {
                let heard = ear.heard();
                if !heard.is_empty() {
                    return heard;
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(noticed.await.unwrap(), ["(lost)"], "way {how}");
        heal(&here).await;
        assert!(here.ping().await.unwrap().watching);
        block_in_place(|| server.cli(&["SET", "app:1", "v"]));
        here.ping().await.unwrap();
        assert_eq!(ear.heard(), ["app:1"], "way {how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_tell_says_so_and_serves() -> Result<(), Error> {
    let server = RedisServer::start();
    let user = "on >pw ~* &* +@all -client|tracking";
    let mut words = vec!["ACL", "SETUSER", "app"];
    words.extend(user.split(' '));
    assert_eq!(block_in_place(|| server.cli(&words)), "OK");
    let (denied, ear) = watched(&format!("redis://app:pw@127.0.0.1:{}/0", server.port()));
    assert!(!denied.ping().await?.watching);
    assert_eq!(get(&denied, "app:1").await?, None);
    denied.reset();
    assert_eq!(ear.heard(), [""; 0], "nothing was lost that had told");

    let url = format!("{}?protocol=resp2", server.url());
    let old = RedisBackend::new(RedisConfig::parse(&url)?);
    let weak: Weak<Ear> = Arc::downgrade(&ear);
    assert!(!old.watch("app:", weak), "it never will");
    assert!(!old.ping().await?.watching);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_tells_one_watcher_and_keeps_none_alive() {
    let server = RedisServer::start();
    let (here, ear) = watching(&server.url()).await;
    let second: Arc<Ear> = Arc::default();
    let weak: Weak<Ear> = Arc::downgrade(&second);
    assert!(!here.watch("app:", weak));
    assert_eq!(Arc::strong_count(&ear), 1);
    drop(ear);
    set(&here, "app:1", "v").await.unwrap();
    here.reset();
}
