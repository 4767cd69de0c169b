//! What Redis is asked, seen by MONITOR.

use dexter_cache::{Cache, Key, KeyPattern};
use support::{Monitor, RedisServer};
use tokio::task::block_in_place;

use crate::{MINUTE, key, patient, patient_builder, ready, until};

/// The commands about keys since the last look; what a script asks, and what a guardian asks an idle server, left out.
fn asked(monitor: &mut Monitor) -> Vec<Vec<String>> {
    block_in_place(|| monitor.take())
        .into_iter()
        .filter(|seen| seen.from != "lua")
        .filter(|seen| {
            !matches!(
                seen.name(),
                "PING" | "TIME" | "HELLO" | "INFO" | "CLIENT" | "SELECT"
            )
        })
        .filter(|seen| {
            seen.args
                .get(1)
                .is_none_or(|key| key != "dexter-cache:probe")
        })
        .map(|seen| seen.args)
        .collect()
}

fn names(asked: &[Vec<String>]) -> Vec<&str> {
    asked.iter().map(|args| args[0].as_str()).collect()
}

async fn load(cache: &Cache, key: &Key) -> u32 {
    cache.get_or_load(key, MINUTE, || async { 1 }).await
}

async fn until_stored(cache: &Cache, count: u64) {
    until("the value is stored", || {
        cache.stats().total.stored == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_is_one_get_and_a_miss_three_round_trips() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let mut monitor = server.monitor();
    // The server learns the script with the first fill, and this process whether any tag was invalidated with two of them:
    // what it has made it is told of as a change.
    let first = [
        &["GET", "SET", "SET", "EVALSHA", "EVAL"][..],
        &["GET", "SET", "SET", "EVALSHA"],
    ];
    for (id, first) in (1..).zip(first) {
        load(&cache, &key("warm", id)).await;
        until_stored(&cache, id.into()).await;
        assert_eq!(names(&asked(&mut monitor)), first);
    }

    for id in 3..6 {
        let key = key("warm", id);
        load(&cache, &key).await;
        until_stored(&cache, id.into()).await;
        let miss = asked(&mut monitor);
        assert_eq!(names(&miss), ["GET", "SET", "EVALSHA"]);
        assert_eq!(miss[0][1], key.as_str());
        assert_eq!(miss[1][1], key.as_str());
        assert!(
            miss[1].ends_with(&["NX".to_owned(), "GET".to_owned()]),
            "{:?}",
            &miss[1][3..]
        );
        assert_eq!(miss[2][3], key.as_str());
        for _ in 0..3 {
            load(&cache, &key).await;
            assert_eq!(asked(&mut monitor), [["GET", key.as_str()]]);
        }
        cache.get::<u32>(&key).await.unwrap();
        assert_eq!(asked(&mut monitor), [["GET", key.as_str()]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_removals_are_one_command() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let mut monitor = server.monitor();
    let key = key("direct", 1);
    cache.set(&key, &1, MINUTE).await.unwrap();
    assert_eq!(names(&asked(&mut monitor)), ["SET"]);
    let _ = cache.remove(&key).await.unwrap();
    assert_eq!(asked(&mut monitor), [["UNLINK", key.as_str()]]);
    let keys: Vec<Key> = (0..1000).map(|id| crate::key("direct", id)).collect();
    cache.get_many::<u32>(&keys).await.unwrap();
    assert_eq!(names(&asked(&mut monitor)), ["MGET", "MGET"]);
    let _ = cache.remove_many(&keys).await.unwrap();
    assert_eq!(names(&asked(&mut monitor)), ["UNLINK", "UNLINK"]);
    dexter_cache::bypass(load(&cache, &key)).await;
    assert!(asked(&mut monitor).is_empty(), "a bypass asks nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_11_only_sweeps_scan_and_nothing_ever_lists_or_flushes() {
    let server = RedisServer::start();
    for namespace in [None, Some("dexter")] {
        let mut builder = patient_builder(&server.url());
        if let Some(namespace) = namespace {
            builder = builder.namespace(namespace);
        }
        let mut monitor = server.monitor();
        let cache = ready(builder).await;
        for id in 0..50 {
            load(&cache, &key("mixed", id)).await;
        }
        until_stored(&cache, 50).await;
        dexter_cache::refresh(load(&cache, &key("mixed", 1))).await;
        until_stored(&cache, 51).await;
        let failed = cache
            .try_get_or_load::<u32, _, _>(&key("mixed", 99), MINUTE, || async { Err(()) })
            .await;
        assert_eq!(failed, Err(()));
        let _ = cache.remove(&key("mixed", 2)).await.unwrap();
        assert!(cache.health().is_whole());
        let before = asked(&mut monitor);
        // With a namespace, its epoch is read along.
        let allowed = ["GET", "MGET", "SET", "EVALSHA", "EVAL", "UNLINK"];
        for name in names(&before) {
            assert!(allowed.contains(&name), "{name} is not for calls");
        }

        let _ = cache
            .invalidate(&KeyPattern::new("mixed:id=1*"))
            .await
            .unwrap();
        let _ = cache.clear().await.unwrap();
        assert!(cache.close().await);
        let sweeps = asked(&mut monitor);
        for args in &sweeps {
            assert!(
                allowed.contains(&args[0].as_str()) || args[0] == "SCAN",
                "{args:?}"
            );
        }
        let scans: Vec<_> = sweeps.iter().filter(|args| args[0] == "SCAN").collect();
        // A namespace is cleared without one.
        let sweeps = if namespace.is_some() { 1 } else { 2 };
        assert_eq!(scans.len(), sweeps, "one sweep for each: {scans:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_look_as_they_are_written() {
    let server = RedisServer::start();
    let list = Key::new("list_issues")
        .part("status", &Some("unresolved"))
        .part("project", "myproject")
        .part("organization", "myorg")
        .part("cursor", &None::<u32>);
    let issue = Key::new("get_issue")
        .part("path", "/api/v1/issues/123")
        .part("query", "");
    for (namespace, before) in [(None, ""), (Some("dexter"), "dexter:")] {
        let mut builder = patient_builder(&server.url());
        if let Some(namespace) = namespace {
            builder = builder.namespace(namespace);
        }
        let cache = ready(builder).await;
        load(&cache, &list).await;
        cache.set(&issue, &1, MINUTE).await.unwrap();
        until_stored(&cache, 2).await;
        let keys = block_in_place(|| server.cli(&["KEYS", "*"]));
        let reserved = format!("{before}dexter-cache:");
        let mut keys: Vec<&str> = keys
            .lines()
            .filter(|key| !key.starts_with(&reserved))
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                format!("{before}get_issue:path=/api/v1/issues/123&query="),
                format!(
                    "{before}list_issues:organization=myorg&project=myproject&status=unresolved"
                ),
            ]
        );
        let ttl: u32 = block_in_place(|| server.cli(&["TTL", keys[1]]))
            .parse()
            .unwrap();
        assert!(
            (1..=60).contains(&ttl),
            "{ttl}: that of the value, not of the lease"
        );
        block_in_place(|| server.cli(&["FLUSHALL"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_removes_is_one_command_after_it() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let mut monitor = server.monitor();
    let transaction = cache.deferred(async {
        for id in 1..4 {
            cache.remove(&key("deferred", id)).await?;
            cache.remove(&key("deferred", 1)).await?;
        }
        assert_eq!(
            names(&asked(&mut monitor)),
            [""; 0],
            "nothing before it ends"
        );
        Ok::<_, dexter_cache::Error>(())
    });
    transaction.await.unwrap();
    let asked = asked(&mut monitor);
    assert_eq!(names(&asked), ["UNLINK"]);
    assert_eq!(asked[0].len(), 4, "{asked:?}");
}

/// `MGET` for all, and for what is missing each step of all keys together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_read_by_one_command_and_loaded_together() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    for id in 1..=3 {
        load(&cache, &key("first", id)).await;
        until_stored(&cache, id.into()).await;
    }
    let mut monitor = server.monitor();
    let many = async |ids: &[u32]| {
        let load = async |ids: Vec<u32>| ids.into_iter().map(|id| (id, id * 10));
        let of = |id: &u32| key("many", *id);
        cache.get_or_load_many(ids, of, MINUTE, load).await
    };
    let all = vec![Some(10), Some(20), Some(30)];
    assert_eq!(many(&[1, 2, 3]).await, all);
    until_stored(&cache, 6).await;
    let miss = asked(&mut monitor);
    assert_eq!(miss[0].join(" "), "MGET many:id=1 many:id=2 many:id=3");
    let mut steps = names(&miss[1..]);
    steps.sort_unstable();
    let three = |name| std::iter::repeat_n(name, 3);
    let each: Vec<_> = three("EVALSHA")
        .chain(three("GET"))
        .chain(three("SET"))
        .collect();
    assert_eq!(steps, each);

    assert_eq!(many(&[1, 2, 3]).await, all);
    assert_eq!(names(&asked(&mut monitor)), ["MGET"], "a hit");
    let keys = [key("many", 1), key("many", 4)];
    let found = cache.get_many::<u32>(&keys).await;
    assert_eq!(found.expect("it is well"), [Some(10), None]);
    assert_eq!(names(&asked(&mut monitor)), ["MGET"], "a look");
}
