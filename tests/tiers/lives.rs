//! Stale values and refreshes over a real server. Two caches stand for two processes; time is the server's, so nothing
//! here says that a value is *still* fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dexter_cache::{Cache, Key, Policy, Ttl, cached};
use support::RedisServer;
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use crate::{BOUND, build, key, patient_builder, soon, until};

const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, PartialEq)]
struct Down;

#[derive(Default)]
struct Origin {
    loads: AtomicU32,
    down: AtomicBool,
}

impl Origin {
    async fn load(self: Arc<Self>) -> Result<u32, Down> {
        let load = self.loads.fetch_add(1, Ordering::SeqCst) + 1;
        if self.down.load(Ordering::SeqCst) {
            Err(Down)
        } else {
            Ok(load)
        }
    }
}

/// Stale almost at once, and for an hour; after a failure nobody tries for another one.
fn policy() -> Policy {
    Policy::new(Ttl::millis(20)).stale(HOUR).throttle(HOUR)
}

async fn call(cache: &Cache, key: &Key, origin: &Arc<Origin>) -> Result<u32, Down> {
    let load = Arc::clone(origin).load();
    let call = cache.try_get_or_load_detached(key, policy(), || async {
        load.await.map_err(|Down| Failed)
    });
    soon("a call", call).await.map_err(|Failed| Down)
}

struct Failed;

impl From<dexter_cache::Error> for Failed {
    fn from(_: dexter_cache::Error) -> Self {
        Self
    }
}

async fn pair(server: &RedisServer) -> [Cache; 2] {
    let builder = || {
        patient_builder(&server.url())
            .namespace("lives")
            .follow_timeout(BOUND * 2)
    };
    [build(builder()).await, build(builder()).await]
}

/// Waits until the value under `key` is stored, and stale.
async fn until_stale(server: &RedisServer, cache: &Cache, key: &Key) {
    let full = format!("lives:{}", key.as_str());
    // A lease lives for seconds; a value is kept for its window.
    until("the value is stored", || {
        let left = block_in_place(|| server.cli(&["PTTL", &full]));
        left.parse::<i64>().is_ok_and(|left| left > 3_000_000)
    })
    .await;
    while soon("a look", cache.get::<u32>(key))
        .await
        .unwrap()
        .is_some()
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_value_answers_in_both_processes_and_one_of_them_tries() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    let (key, origin) = (key("stale", 1), Arc::new(Origin::default()));
    assert_eq!(call(&here, &key, &origin).await, Ok(1));
    until_stale(&server, &here, &key).await;
    origin.down.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        for cache in [&here, &there] {
            assert_eq!(call(cache, &key, &origin).await, Ok(1));
        }
    }
    assert_eq!(origin.loads.load(Ordering::SeqCst), 2);
    assert_eq!(here.stats().total.stale + there.stats().total.stale, 10);
    let left: u64 = block_in_place(|| server.cli(&["PTTL", "lives:stale:id=1"]))
        .parse()
        .unwrap();
    assert!(left <= 3_600_020, "a failure prolongs nothing: {left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_15_what_another_process_removes_while_a_load_fails_is_not_fallen_back_on() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for how in 0..3 {
        let key = key("removed", how);
        let origin = Arc::new(Origin::default());
        assert_eq!(call(&here, &key, &origin).await, Ok(1));
        until_stale(&server, &here, &key).await;
        let (removing, target) = (there.clone(), key.clone());
        let load = move || async move {
            let removed = match how {
                0 => removing.remove(&target).await,
                1 => {
                    let pattern = dexter_cache::KeyPattern::new("removed:*");
                    removing.invalidate(&pattern).await
                }
                _ => removing.clear().await,
            };
            removed.unwrap();
            Err::<u32, _>(Down)
        };
        let answer = here.try_get_or_load_shared(&key, policy(), load);
        assert_eq!(soon("a call", answer).await, Err(Down), "way {how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_over_a_stale_value_holds_its_lease_in_the_header_and_others_wait_for_it() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    let (key, origin) = (key("leased", 1), Arc::new(Origin::default()));
    assert_eq!(call(&here, &key, &origin).await, Ok(1));
    until_stale(&server, &here, &key).await;
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicU32::new(0));
    let callers = [&here, &there].map(|cache| {
        let (cache, key) = (cache.clone(), key.clone());
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        tokio::spawn(async move {
            let load = || async {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                Ok::<_, Down>(2)
            };
            let fresh = Policy::new(Ttl::secs(600)).stale(HOUR);
            cache.try_get_or_load(&key, fresh, load).await
        })
    });
    until("one of them loads", || begun.load(Ordering::SeqCst) == 1).await;
    assert_eq!(
        block_in_place(|| server.cli(&["EXISTS", "lives:leased:id=1"])),
        "1"
    );
    gate.add_permits(10);
    for caller in callers {
        assert_eq!(soon("a caller", caller).await.unwrap(), Ok(2));
    }
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_due_is_refreshed_and_answers_meanwhile() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    let (key, origin) = (key("due", 1), Arc::new(Origin::default()));
    // Due at once, and fresh for long.
    let policy = || Policy::new(Ttl::secs(600)).refresh_ahead(0.000_001);
    let call = async |cache: &Cache| {
        let load = Arc::clone(&origin).load();
        let load = || async { load.await.map_err(|Down| Failed) };
        let call = cache.try_get_or_load_detached(&key, policy(), load);
        soon("a call", call).await.map_err(|Failed| Down)
    };
    assert_eq!(call(&here).await, Ok(1));
    until("it is stored", || here.stats().total.stored == 1).await;
    origin.down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2)).await;
    for _ in 0..5 {
        for cache in [&here, &there] {
            assert_eq!(call(cache).await, Ok(1));
        }
    }
    until("a refresh has failed", || {
        here.stats().total.failed_loads + there.stats().total.failed_loads == 1
    })
    .await;
    assert_eq!(here.get::<u32>(&key).await.unwrap(), Some(1));
}

#[cached(ttl = "10m", none_ttl = "10m", prefix = "lives_none")]
async fn find(id: u32) -> Option<u32> {
    (id > 1).then_some(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_none_is_remembered_in_the_server() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    assert_eq!(soon("a call", here.scope(find(1))).await, None);
    until("it is stored", || here.stats().total.stored == 1).await;
    assert_eq!(soon("a call", there.scope(find(1))).await, None);
    assert_eq!(there.stats().total.loads, 0);
    let peeked = soon("a look", there.scope(find::peek(1))).await.unwrap();
    assert_eq!(peeked, Some(None));
}
