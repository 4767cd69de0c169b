//! What one process changes, L1 of another one does not answer with any more.

use std::io::Write;

use dexter_cache::{Key, KeyPattern, Reach, refresh};
use support::RedisServer;
use tokio::task::block_in_place;

use super::{NAMESPACE, builder, from_l1, reads, set, tiered, until_read};
use crate::two_processes::Process;
use crate::{MINUTE, key, ready, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_one_cache_is_seen_by_the_l1_of_another() {
    let server = RedisServer::start();
    let (here, there) = (tiered(&server).await, tiered(&server).await);
    let key = key("shared", 1);
    for how in 0..7 {
        set(&there, &key, how).await;
        until_read(&here, &key, Some(how)).await;
        assert_eq!(from_l1(&server, &here, &key).await, how);
        let gone = match how {
            0 => there.remove(&key).await,
            1 => there.remove_many(std::slice::from_ref(&key)).await,
            2 => there.invalidate(&KeyPattern::new("shared:id=1")).await,
            3 => there.invalidate(&KeyPattern::new("sha*")).await,
            4 => there.clear().await,
            5 => {
                set(&there, &key, 100).await;
                until_read(&here, &key, Some(100)).await;
                continue;
            }
            _ => {
                // By another hand, and not by this library.
                let name = format!("{NAMESPACE}:{key}");
                block_in_place(|| server.cli(&["DEL", &name]));
                until_read(&here, &key, None).await;
                continue;
            }
        };
        assert_eq!(gone.unwrap().reach, Reach::Applied);
        until_read(&here, &key, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cache_changes_itself_it_never_reads_again() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let key = key("own", 1);
    for round in 0..50 {
        set(&cache, &key, round).await;
        assert_eq!(cache.get::<u32>(&key).await.unwrap(), Some(round));
        assert_eq!(cache.get::<u32>(&key).await.unwrap(), Some(round));
        let removed = match round % 4 {
            0 => cache.remove(&key).await,
            1 => cache.invalidate(&KeyPattern::new("own:*")).await,
            2 => cache.clear().await,
            _ => continue,
        };
        removed.unwrap();
        assert_eq!(cache.get::<u32>(&key).await.unwrap(), None, "{round}");
        let loaded = cache.get_or_load(&key, MINUTE, || async { 1000 + round });
        assert_eq!(loaded.await, 1000 + round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_replaces_what_l1_holds_in_both() {
    let server = RedisServer::start();
    let (here, there) = (tiered(&server).await, tiered(&server).await);
    let key = key("refreshed", 1);
    set(&here, &key, 1).await;
    assert_eq!(from_l1(&server, &here, &key).await, 1);
    assert_eq!(from_l1(&server, &there, &key).await, 1);
    let anew = refresh(here.get_or_load(&key, MINUTE, || async { 2_u32 })).await;
    assert_eq!(anew, 2);
    until_read(&here, &key, Some(2)).await;
    until_read(&there, &key, Some(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_read_from_l1_and_the_rest_from_redis() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let keys: Vec<Key> = (0..5).map(|id| key("many", id)).collect();
    for (id, key) in (0..4).zip(&keys) {
        set(&cache, key, id).await;
    }
    let all = [Some(0), Some(1), Some(2), Some(3), None];
    assert_eq!(cache.get_many::<u32>(&keys).await.unwrap(), all);
    let held = &keys[..4];
    let silent = async {
        loop {
            let before = reads(&server);
            assert_eq!(cache.get_many::<u32>(held).await.unwrap(), all[..4]);
            if reads(&server) == before {
                return;
            }
        }
    };
    soon("all four are read from L1", silent).await;
    cache.remove(&keys[1]).await.unwrap();
    let left = [Some(0), None, Some(2), Some(3), None];
    assert_eq!(cache.get_many::<u32>(&keys).await.unwrap(), left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_by_somebody_else_empties_l1() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let keys: Vec<Key> = (0..20).map(|id| key("flushed", id)).collect();
    for command in ["FLUSHDB", "FLUSHALL"] {
        for key in &keys {
            set(&cache, key, 1).await;
            assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(1));
        }
        block_in_place(|| server.cli(&[command]));
        until("L1 is empty", || cache.stats().entries == 0).await;
        for key in &keys {
            assert_eq!(cache.get::<u32>(key).await.unwrap(), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_another_process_loads_again_is_read_again() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let key = key("far", 1);
    set(&cache, &key, 7).await;
    assert_eq!(from_l1(&server, &cache, &key).await, 7);
    cache.remove(&key).await.unwrap();
    let mut process = block_in_place(|| Process::start_in(&server, NAMESPACE));
    block_in_place(|| process.hear("loading"));
    assert_eq!(cache.get::<u32>(&key).await.unwrap(), None, "a lease");
    process.orders.write_all(b"go on\n").unwrap();
    block_in_place(|| process.hear("done"));
    assert_eq!(from_l1(&server, &cache, &key).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tiered_caches_share_one_load() {
    let server = RedisServer::start();
    let caches = [tiered(&server).await, tiered(&server).await];
    for id in 0..5 {
        let key = key("cold", id);
        let loads = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let callers: Vec<_> = (0..60)
            .map(|caller| {
                let (cache, key, loads) = (caches[caller % 2].clone(), key.clone(), loads.clone());
                tokio::spawn(async move {
                    let load = || async {
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        loads.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
                    };
                    cache.get_or_load(&key, MINUTE, load).await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(soon("a caller", caller).await.unwrap(), 0);
        }
        assert_eq!(loads.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_that_begin_alike_do_not_disturb_each_other() {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let neighbour = ready(builder(&server.url()).namespace(format!("{NAMESPACE}2"))).await;
    let key = key("alike", 1);
    set(&cache, &key, 1).await;
    set(&neighbour, &key, 2).await;
    neighbour.clear().await.unwrap();
    assert_eq!(neighbour.get::<u32>(&key).await.unwrap(), None);
    assert_eq!(from_l1(&server, &cache, &key).await, 1);
}
