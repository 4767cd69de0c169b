//! Two processes over one Redis. Two caches stand for them: they share no memory. Where what counts is that a process
//! ends, there is a real one: this very program, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dexter_cache::{Cache, Key, KeyPattern, Reach};
use support::{Proxy, RedisServer};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use crate::{
    MINUTE, break_off, key, patient, patient_builder, ready, soon, until, until_back, until_lost,
};

async fn pair(server: &RedisServer) -> [Cache; 2] {
    let builder = || patient_builder(&server.url()).namespace("pair");
    [ready(builder()).await, ready(builder()).await]
}

/// Begins a load of `old` that ends when it is told to.
async fn slow_load(
    cache: &Cache,
    key: &Key,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<u32>) {
    let (go, gone) = oneshot::channel();
    let (begun, begins) = oneshot::channel();
    let (cache, key) = (cache.clone(), key.clone());
    let load = tokio::spawn(async move {
        cache
            .get_or_load(&key, MINUTE, || async {
                begun.send(()).unwrap();
                gone.await.unwrap();
                1
            })
            .await
    });
    soon("a load begins", begins).await.unwrap();
    (go, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_not_stored_when_another_process_removes_its_key() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for how in 0..6 {
        let key = key("raced", how);
        let (go, load) = slow_load(&here, &key).await;
        let removed = match how {
            0 => there.remove(&key).await,
            1 => there.remove_many(std::slice::from_ref(&key)).await,
            2 => there.invalidate(&KeyPattern::new("raced:id=2")).await,
            3 => there.invalidate(&KeyPattern::new("raced:*")).await,
            4 => there.invalidate(&KeyPattern::new("*")).await,
            _ => there.clear().await,
        };
        assert_eq!(removed.unwrap().reach, Reach::Applied);
        let fenced = here.stats().total.fenced;
        go.send(()).unwrap();
        assert_eq!(
            soon("the load", load).await.unwrap(),
            1,
            "its caller gets it"
        );
        until("the store is refused", || {
            here.stats().total.fenced > fenced
        })
        .await;
        for cache in [&here, &there] {
            assert_eq!(cache.get::<u32>(&key).await.unwrap(), None, "way {how}");
        }
        let next = there.get_or_load(&key, MINUTE, || async { 2 });
        assert_eq!(soon("the next load", next).await, 2);
        let next = here.get_or_load(&key, MINUTE, || async { 3 });
        assert_eq!(soon("the next hit", next).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_does_not_overwrite_what_another_process_has_set() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    let key = key("raced", 1);
    let (go, load) = slow_load(&here, &key).await;
    there.set(&key, &2_u32, MINUTE).await.unwrap();
    go.send(()).unwrap();
    assert_eq!(soon("the load", load).await.unwrap(), 1);
    until("the store is refused", || here.stats().total.fenced == 1).await;
    assert_eq!(here.get(&key).await.unwrap(), Some(2_u32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_longer_than_its_lease_is_cached_and_not_run_twice() {
    let server = RedisServer::start();
    let builder = || patient_builder(&server.url()).lease_ttl(RENEWED);
    let (here, there) = (ready(builder()).await, ready(builder()).await);
    let key = key("long", 1);
    let (go, load) = slow_load(&here, &key).await;
    let waiting = tokio::spawn({
        let (there, key) = (there.clone(), key.clone());
        async move { there.get_or_load(&key, MINUTE, || async { 2_u32 }).await }
    });
    until_renewed(&server, &key).await;
    assert!(!waiting.is_finished(), "two processes load the same key");
    go.send(()).unwrap();
    assert_eq!(soon("the load", load).await.unwrap(), 1);
    assert_eq!(soon("the other process", waiting).await.unwrap(), 1);
    assert_eq!(there.stats().total.loads, 0);
    assert_eq!(there.get(&key).await.unwrap(), Some(1_u32));
    assert!(
        left(&server, &key) > RENEWED,
        "it is stored for its TTL, not the lease's"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_processes_loads_a_cold_key() {
    let server = RedisServer::start();
    let caches = pair(&server).await;
    for id in 0..5 {
        let key = key("cold", id);
        let loads = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..100)
            .map(|caller| {
                let (cache, key, loads) =
                    (caches[caller % 2].clone(), key.clone(), Arc::clone(&loads));
                tokio::spawn(async move {
                    cache
                        .get_or_load(&key, MINUTE, || async {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            loads.fetch_add(1, Ordering::SeqCst)
                        })
                        .await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(soon("a caller", caller).await.unwrap(), 0);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_in_an_outage_reaches_the_others_at_the_recovery() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let here = ready(patient_builder(&proxy.url())).await;
    let there = patient(&server).await;
    let key = key("late", 1);
    here.set(&key, &1_u32, MINUTE).await.unwrap();
    assert_eq!(there.get(&key).await.unwrap(), Some(1_u32));
    block_in_place(|| break_off(&proxy));
    until_lost(&here).await;
    assert_eq!(here.remove(&key).await.unwrap().reach, Reach::Journaled);
    assert_eq!(there.get(&key).await.unwrap(), Some(1_u32));
    block_in_place(|| proxy.accept_new());
    until_back(&here).await;
    assert_eq!(there.get::<u32>(&key).await.unwrap(), None);
}

/// A second process.
pub(crate) struct Process {
    child: Child,
    pub(crate) orders: ChildStdin,
    words: std::io::Lines<BufReader<ChildStdout>>,
}

const URL: &str = "TIERS_PROCESS_URL";
const NAMESPACE: &str = "TIERS_PROCESS_NAMESPACE";
/// A lease of which one waits to see that it is renewed, each third of it. A machine has to stand still for the other
/// two thirds to break it.
const RENEWED: Duration = Duration::from_secs(12);

/// How long what lies under `key` lives; nothing if there is nothing.
fn left(server: &RedisServer, key: &Key) -> Duration {
    let left = block_in_place(|| server.cli(&["PTTL", key.as_str()]));
    Duration::from_millis(left.parse().unwrap_or(0))
}

async fn until_renewed(server: &RedisServer, key: &Key) {
    let mut least = left(server, key);
    until("the lease is renewed", || {
        let now = left(server, key);
        least = least.min(now);
        now > least
    })
    .await;
}

impl Process {
    /// Starts [`the_other_process`].
    fn start(server: &RedisServer) -> Self {
        Self::start_in(server, "")
    }

    /// The same, with a namespace.
    pub(crate) fn start_in(server: &RedisServer, namespace: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "two_processes::the_other_process", "--nocapture"])
            .env(URL, server.url())
            .env(NAMESPACE, namespace)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let words = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            orders,
            words,
        }
    }

    /// Waits until it says `word`.
    pub(crate) fn hear(&mut self, word: &str) {
        let heard = self
            .words
            .any(|line| line.is_ok_and(|line| line.ends_with(word)));
        assert!(heard, "the other process ended without saying `{word}`");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a second process does: loads the key `far:id=1` until it is told to end. A test like any other one where no
/// process has been told to do that.
#[tokio::test]
async fn the_other_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let mut builder = patient_builder(&url).lease_ttl(RENEWED);
    if let Some(namespace) = std::env::var(NAMESPACE)
        .ok()
        .filter(|name| !name.is_empty())
    {
        builder = builder.namespace(namespace);
    }
    let cache = ready(builder).await;
    let value = cache
        .get_or_load(&key("far", 1), MINUTE, || async {
            println!("\nloading");
            // The lease is renewed by this runtime meanwhile.
            tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
                .await
                .unwrap()
                .unwrap();
            1_u32
        })
        .await;
    assert_eq!(value, 1);
    assert!(cache.close().await, "the store has been tried");
    println!("\ndone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_process_does_not_store_what_was_removed_meanwhile() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let key = key("far", 1);
    for removing in [true, false] {
        let mut process = block_in_place(|| Process::start(&server));
        block_in_place(|| process.hear("loading"));
        if removing {
            assert_eq!(cache.remove(&key).await.unwrap().reach, Reach::Applied);
        }
        process.orders.write_all(b"go on\n").unwrap();
        block_in_place(|| process.hear("done"));
        let stored = cache.get::<u32>(&key).await.unwrap();
        assert_eq!(stored, (!removing).then_some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_delays_others_by_its_lease_at_most() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let key = key("far", 1);
    let mut process = block_in_place(|| Process::start(&server));
    block_in_place(|| process.hear("loading"));
    let waiting = tokio::spawn({
        let (cache, key) = (cache.clone(), key.clone());
        async move { cache.get_or_load(&key, MINUTE, || async { 2_u32 }).await }
    });
    until_renewed(&server, &key).await;
    assert!(!waiting.is_finished(), "two processes load the same key");
    drop(process);
    // Far less than its own patience.
    assert_eq!(soon("the survivor", waiting).await.unwrap(), 2);
    until("it is stored", || cache.stats().total.stored == 1).await;
}

/// All of them wait on the one connection that the process has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_19_callers_that_wait_for_another_process_use_no_connection_of_their_own() {
    const CALLERS: u32 = 500;
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    let mut client = server.client();
    let mut connections = || {
        let info = client.call(&["INFO", "stats"]).expect("an answer");
        let info = info.to_string();
        let line = info
            .lines()
            .find_map(|line| line.trim().strip_prefix("total_connections_received:"));
        line.expect("it is told").parse::<u32>().expect("a number")
    };
    let before = block_in_place(&mut connections);
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let leader = tokio::spawn(async move {
        let load = || async {
            begun.send(()).expect("somebody waits for it");
            gone.await.expect("it is told to go on");
            7_u32
        };
        here.get_or_load(&key("crowd", 1), MINUTE, load).await
    });
    soon("the load begins", begins).await.expect("it does");
    let arrived = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (there, arrived) = (there.clone(), Arc::clone(&arrived));
            tokio::spawn(async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                there
                    .get_or_load(&key("crowd", 1), MINUTE, || async { 8_u32 })
                    .await
            })
        })
        .collect();
    until("they all come", || {
        arrived.load(Ordering::SeqCst) == CALLERS
    })
    .await;
    assert_eq!(block_in_place(&mut connections), before);
    go.send(()).expect("the load waits for it");
    for caller in callers {
        assert_eq!(soon("a caller", caller).await.expect("a value"), 7);
    }
    assert_eq!(soon("the leader", leader).await.expect("a value"), 7);
    assert_eq!(block_in_place(&mut connections), before);
    assert_eq!(there.stats().total.loads, 0);
}
