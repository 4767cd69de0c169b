//! What went wrong in other libraries with a shared server, each told once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dexter_cache::test_util::TestClock;
use dexter_cache::{Cache, Key, KeyPattern, Policy, Reach, Ttl, refresh};
use support::{Proxy, RedisServer};
use tokio::task::block_in_place;

use crate::tiered::{NAMESPACE, set, tiered, until_read};
use crate::{MINUTE, break_off, key, patient, patient_builder, ready, until_back, until_lost};

const HOUR_MS: u64 = 3_600_000;

async fn read(cache: &Cache, key: &Key) -> Option<u32> {
    cache.get(key).await.unwrap()
}

/// The first store of a chain of stores writes to whichever works, and the server comes back with all that it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_2_what_redis_had_before_the_outage_is_not_served_after_it_once_removed() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let builder = |url: &str| patient_builder(url).namespace("scars");
    for how in 0..6 {
        let here = ready(builder(&proxy.url())).await;
        let there = ready(builder(&server.url())).await;
        let key = key("outage", how);
        let policy = || Policy::new(MINUTE).tag("scar");
        here.set(&key, &1_u32, policy()).await.unwrap();
        break_off(&proxy);
        until_lost(&here).await;
        let removed = match how {
            0 => here.remove(&key).await.unwrap().reach,
            1 => {
                let prefix = KeyPattern::new("outage:*");
                here.invalidate(&prefix).await.unwrap().reach
            }
            2 => here.invalidate_tag("scar").await.unwrap().reach,
            3 => here.clear().await.unwrap().reach,
            _ => Reach::Journaled,
        };
        assert_eq!(removed, Reach::Journaled);
        match how {
            4 => here.set(&key, &2_u32, policy()).await.unwrap(),
            5 => {
                let load = here.get_or_load(&key, policy(), || async { 2 });
                assert_eq!(refresh(load).await, 2);
                // A refresh promises nothing to others: who means it removes.
                assert_eq!(here.remove(&key).await.unwrap().reach, Reach::Journaled);
            }
            _ => {}
        }
        assert_ne!(read(&here, &key).await, Some(1), "{how}: in the outage");
        assert_eq!(read(&there, &key).await, Some(1), "Redis still has it");
        proxy.accept_new();
        until_back(&here).await;
        crate::until("everything is replayed", || here.health().journaled == 0).await;
        for cache in [&here, &there] {
            assert_eq!(read(cache, &key).await, None, "{how}: after it");
        }
        let load = || here.get_or_load(&key, policy(), || async { 2 });
        assert_eq!(load().await, 2);
    }
}

/// A message says "gone" and arrives after the next value: it must cost a copy, and never the shared value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_a_late_message_of_a_change_removes_no_newer_value_from_redis() {
    let server = RedisServer::start();
    let (writer, reader) = (tiered(&server).await, tiered(&server).await);
    let key = key("late", 1);
    set(&writer, &key, 0).await;
    until_read(&reader, &key, Some(0)).await;
    let mut monitor = server.monitor();
    // Each value is followed by the next one at once: the messages of the first are late for the second.
    for value in 1..200 {
        set(&writer, &key, value).await;
        read(&reader, &key).await;
    }
    until_read(&reader, &key, Some(199)).await;
    let asked = block_in_place(|| monitor.names());
    for name in ["DEL", "UNLINK", "EXPIRE", "PEXPIRE"] {
        assert!(!asked.iter().any(|other| other == name), "{name}");
    }
    let name = format!("{NAMESPACE}:{key}");
    assert_eq!(
        block_in_place(|| server.cli(&["EXISTS", &name])).trim(),
        "1"
    );
}

/// Prefixes without a delimiter take their neighbours along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_9_what_is_removed_under_a_prefix_is_not_what_begins_alike() {
    let server = RedisServer::start();
    let (cache, other) = (patient(&server).await, patient(&server).await);
    let neighbours = [
        Key::new("usersAbc").part("id", &1),
        Key::new("users2"),
        Key::new("user").part("id", &1),
    ];
    for neighbour in &neighbours {
        other.set(neighbour, &1_u32, MINUTE).await.unwrap();
    }
    for how in 0..2 {
        cache.set(&key("users", 1), &1_u32, MINUTE).await.unwrap();
        cache.set(&Key::new("users"), &1_u32, MINUTE).await.unwrap();
        let removed = match how {
            0 => cache.invalidate(&KeyPattern::new("users:*")).await,
            // Without a namespace this means the prefixes of this process.
            _ => cache.clear().await,
        };
        removed.unwrap();
        assert_eq!(read(&cache, &key("users", 1)).await, None);
        for neighbour in &neighbours {
            assert_eq!(read(&other, neighbour).await, Some(1), "{neighbour}");
        }
    }
}

/// Markers with the time of an invalidation in them are compared with the time of another machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_17_clocks_an_hour_apart_neither_keep_what_is_gone_nor_end_what_is_there() {
    let server = RedisServer::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let mut caches = Vec::new();
    for wall_ms in [now - HOUR_MS, now, now + HOUR_MS] {
        let clock = TestClock::tokio();
        clock.set_wall_ms(wall_ms);
        let builder = patient_builder(&server.url()).namespace("clocks");
        caches.push(ready(builder.clock(&clock)).await);
    }
    let (gone, kept) = (key("clocks", 1), key("clocks", 2));
    for (at, writer) in caches.iter().enumerate() {
        for remover in &caches {
            let policy = |tag: &str| Policy::new(MINUTE).tag(tag);
            writer.set(&gone, &1_u32, policy("gone")).await.unwrap();
            writer.set(&kept, &1_u32, policy("kept")).await.unwrap();
            for cache in &caches {
                assert_eq!(read(cache, &gone).await, Some(1), "written by {at}");
            }
            remover.invalidate_tag("gone").await.unwrap();
            for cache in &caches {
                assert_eq!(read(cache, &gone).await, None);
                assert_eq!(read(cache, &kept).await, Some(1), "nobody meant it");
            }
            remover.clear().await.unwrap();
            for cache in &caches {
                assert_eq!(read(cache, &kept).await, None);
            }
        }
    }
    // And a value ends at its time by every clock.
    let short = key("clocks", 3);
    caches[2]
        .set(&short, &1_u32, Ttl::millis(30))
        .await
        .unwrap();
    let ended = async {
        for cache in &caches {
            while read(cache, &short).await.is_some() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    crate::soon("the value ends", ended).await;
}
