//! What Redis says to every process, and what L1 saves it from being asked.

use dexter_cache::{Cache, Key};
use support::{Client, RedisServer, Reply};
use tokio::task::block_in_place;

use super::{NAMESPACE, set, tiered};
use crate::{MINUTE, key, patient_builder, ready, soon, until};

/// A client that is told what a tiered cache is told.
struct Listener(Client);

impl Listener {
    fn start(server: &RedisServer) -> Self {
        let mut client = server.client();
        client.call(&["HELLO", "3"]).unwrap();
        let prefix = format!("{NAMESPACE}:");
        let tracking = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &prefix];
        assert_eq!(client.call(&tracking).unwrap(), Reply::Status("OK".into()));
        Self(client)
    }

    /// The keys named since the last call, each as often as it was named.
    fn heard(&mut self) -> Vec<String> {
        block_in_place(|| {
            let mut keys = Vec::new();
            self.0.send(&["PING"]).unwrap();
            loop {
                match self.0.receive().unwrap() {
                    Reply::Push(words) => match words.as_slice() {
                        [_, Reply::Array(named)] => {
                            keys.extend(named.iter().map(Reply::to_string));
                        }
                        other => panic!("{other:?}"),
                    },
                    reply => {
                        assert_eq!(reply, Reply::Status("PONG".into()));
                        return keys;
                    }
                }
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_is_announced_at_most_twice_and_a_removal_once() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    // The first fill in a namespace begins its epoch, which is announced as well.
    cache
        .get_or_load(&key("first", 1), MINUTE, || async { 1 })
        .await;
    until("it is stored", || cache.stats().total.stored == 1).await;
    let mut listener = Listener::start(&server);
    for id in 0..20 {
        let key = key("filled", id);
        let stored = cache.stats().total.stored;
        let loaded = cache.get_or_load(&key, MINUTE, || async { id }).await;
        assert_eq!(loaded, id);
        until("it is stored", || cache.stats().total.stored > stored).await;
        let name = format!("{NAMESPACE}:{key}");
        let heard = listener.heard();
        assert!(heard.iter().all(|heard| *heard == name), "{heard:?}");
        assert!((1..=2).contains(&heard.len()), "{heard:?}");
        // The lease is one of the two, and the value the other: a `set` has no lease.
        set(&cache, &key, id).await;
        assert_eq!(listener.heard(), [name.as_str()]);
        cache.remove(&key).await.unwrap();
        assert_eq!(listener.heard(), [name.as_str()]);
    }
}

/// JetCache and FusionCache broadcast every fill of a process's memory to all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_7_a_thousand_fills_of_l1_are_announced_to_nobody() {
    let server = RedisServer::start();
    let writer = ready(patient_builder(&server.url()).namespace(NAMESPACE)).await;
    let keys: Vec<Key> = (0..1000).map(|id| key("wide", id)).collect();
    for key in &keys {
        set(&writer, key, 1).await;
    }
    let cache = tiered(&server).await;
    let mut listener = Listener::start(&server);
    for key in &keys {
        assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(1));
    }
    until("L1 is filled", || cache.stats().entries == 1000).await;
    assert_eq!(listener.heard(), [""; 0]);
    set(&writer, &keys[0], 2).await;
    assert_eq!(listener.heard(), [format!("{NAMESPACE}:{}", keys[0])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_in_l1_asks_redis_nothing() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let keys: Vec<Key> = (0..50).map(|id| key("held", id)).collect();
    for key in &keys {
        set(&cache, key, 1).await;
    }
    let read_all = async |cache: &Cache| {
        for key in &keys {
            assert_eq!(
                cache.get_or_load(key, MINUTE, || async { 0_u32 }).await,
                1,
                "{key}"
            );
        }
    };
    read_all(&cache).await;
    let mut monitor = server.monitor();
    let silent = async {
        loop {
            read_all(&cache).await;
            let asked = block_in_place(|| monitor.names());
            if !asked.iter().any(|name| name == "GET") {
                return;
            }
        }
    };
    // Not at the first try where the machine stood still for longer than L1 answers without news.
    soon("fifty hits ask nothing", silent).await;
    let before = cache.stats().total;
    read_all(&cache).await;
    let after = cache.stats().total;
    assert_eq!((after.hits - before.hits, after.loads), (50, before.loads));
}
