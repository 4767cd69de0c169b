//! Many keys at once, in two processes. Whoever waits for a lease longer than need be counts as one that hangs.

use std::sync::Arc;

use dexter_cache::{Cache, Policy};
use support::RedisServer;
use tokio::sync::{Mutex, Semaphore};

use crate::{MINUTE, key, patient, soon, until};

/// An origin that answers when it is told to, and remembers what it was asked.
#[derive(Debug)]
struct Origin {
    asked: Mutex<Vec<u32>>,
    gate: Semaphore,
}

impl Origin {
    fn new(open: usize) -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            gate: Semaphore::new(open),
        })
    }

    async fn load(&self, ids: Vec<u32>) -> Vec<(u32, u32)> {
        self.asked.lock().await.extend(&ids);
        self.gate.acquire().await.expect("never closed").forget();
        ids.into_iter().map(|id| (id, id * 10)).collect()
    }

    async fn asked(&self) -> Vec<u32> {
        let mut asked = self.asked.lock().await.clone();
        asked.sort_unstable();
        asked
    }
}

fn ask(
    cache: &Cache,
    origin: &Arc<Origin>,
    ids: &'static [u32],
) -> tokio::task::JoinHandle<Vec<Option<u32>>> {
    let (cache, origin) = (cache.clone(), Arc::clone(origin));
    tokio::spawn(async move {
        let policy = Policy::new(MINUTE).tag("many");
        let of = |id: &u32| key("many", *id);
        let load = |ids| origin.load(ids);
        cache.get_or_load_many(ids, of, policy, load).await
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_need_each_other_load_each_key_once() {
    let server = RedisServer::start();
    let (one, other) = (patient(&server).await, patient(&server).await);
    let origin = Origin::new(0);
    let first = ask(&one, &origin, &[1, 2, 3]);
    until("the first one loads", || one.stats().total.loads == 3).await;
    let second = ask(&other, &origin, &[4, 3, 5, 1]);
    // It waits for two, and loads the others meanwhile.
    until("the second one loads", || other.stats().total.loads == 2).await;
    origin.gate.add_permits(2);
    let first = soon("the first one", first).await.expect("no panic");
    let second = soon("the second one", second).await.expect("no panic");
    assert_eq!(first, [Some(10), Some(20), Some(30)]);
    assert_eq!(second, [Some(40), Some(30), Some(50), Some(10)]);
    assert_eq!(origin.asked().await, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_removes_while_a_batch_loads_is_not_stored() {
    let server = RedisServer::start();
    let (one, other) = (patient(&server).await, patient(&server).await);
    for by_tag in [false, true] {
        let origin = Origin::new(0);
        let loads = one.stats().total.loads;
        let loading = ask(&one, &origin, &[1, 2]);
        until("it loads", || one.stats().total.loads == loads + 2).await;
        if by_tag {
            other.invalidate_tag("many").await.expect("it is well");
        } else {
            other.remove(&key("many", 1)).await.expect("it is well");
        }
        origin.gate.add_permits(1);
        assert_eq!(
            soon("it loads", loading).await.expect("no panic"),
            [Some(10), Some(20)]
        );
        let done = one.stats().total;
        let ended = done.stored + done.fenced;
        until("the fills end", || {
            let now = one.stats().total;
            now.stored + now.fenced >= ended.max(loads + 2)
        })
        .await;
        let found = other
            .get_many::<u32>(&[key("many", 1), key("many", 2)])
            .await;
        let kept = if by_tag { None } else { Some(20) };
        assert_eq!(found.expect("it is well"), [None, kept]);
        other.remove(&key("many", 2)).await.expect("it is well");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_see_an_invalidated_tag_and_a_removal() {
    let server = RedisServer::start();
    let (one, other) = (patient(&server).await, patient(&server).await);
    let tagged = |id: u32| Policy::new(MINUTE).tag(format!("tag:{}", id % 2));
    let keys: Vec<_> = (0..1_200).map(|id| key("many", id)).collect();
    for (id, key) in (0_u32..).zip(&keys).take(6) {
        one.set(key, &id, tagged(id)).await.expect("it is well");
    }
    let found = async || {
        let found = other.get_many::<u32>(&keys).await.expect("it is well");
        found.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(found().await, [0, 1, 2, 3, 4, 5]);
    one.invalidate_tag("tag:1").await.expect("it is well");
    one.remove(&keys[2]).await.expect("it is well");
    assert_eq!(found().await, [0, 4]);
    let total = other.stats().prefix("many");
    assert_eq!((total.hits, total.misses), (8, 2_392));
}
