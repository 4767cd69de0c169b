//! Look-ups, modes, scopes.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::{Cache, InCacheScope, Key, KeyPattern, Reach, Ttl, bypass, cached, refresh};

use crate::Counter;

const MINUTE: Ttl = Ttl::secs(60);

fn key() -> Key {
    Key::new("basics").part("id", &1)
}

#[tokio::test]
async fn a_hit_does_not_load() {
    let key = key();
    let cache = Cache::memory();
    let loads = Counter::new();
    for _ in 0..3 {
        let value = cache
            .get_or_load(&key, MINUTE, || async { loads.add() })
            .await;
        assert_eq!(value, 1);
    }
    let counts = cache.stats().prefix("basics");
    assert_eq!(
        (counts.hits, counts.misses, counts.loads, counts.stored),
        (2, 1, 1, 1)
    );
    assert_eq!(cache.stats().entries, 1);
}

#[tokio::test]
async fn a_bypass_neither_reads_nor_writes() {
    let key = key();
    let cache = Cache::memory();
    cache.set(&key, &1, MINUTE).await.unwrap();
    let load = || cache.get_or_load(&key, MINUTE, || async { 2 });
    assert_eq!(bypass(load()).await, 2);
    assert_eq!(load().await, 1);
    assert_eq!(cache.stats().total.bypasses, 1);
}

#[tokio::test]
async fn a_refresh_writes_and_does_not_read() {
    let key = key();
    let cache = Cache::memory();
    cache.set(&key, &1, MINUTE).await.unwrap();
    let load = || cache.get_or_load(&key, MINUTE, || async { 2 });
    assert_eq!(refresh(load()).await, 2);
    assert_eq!(cache.get(&key).await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_failed_refresh_keeps_what_was_there() {
    let key = key();
    let cache = Cache::memory();
    cache.set(&key, &1, MINUTE).await.unwrap();
    let failed = refresh(cache.try_get_or_load(&key, MINUTE, || async { Err::<i32, _>("down") }));
    assert_eq!(failed.await, Err("down"));
    assert_eq!(cache.get(&key).await.unwrap(), Some(1));
}

#[tokio::test]
async fn another_type_under_the_key_is_a_miss() {
    let key = key();
    let cache = Cache::memory();
    cache.set(&key, &1_u32, MINUTE).await.unwrap();
    assert_eq!(cache.get::<String>(&key).await.unwrap(), None);
    let text = cache
        .get_or_load(&key, MINUTE, || async { "text".to_owned() })
        .await;
    assert_eq!(text, "text");
    assert_eq!(
        cache.get::<String>(&key).await.unwrap().as_deref(),
        Some("text")
    );
}

#[tokio::test]
async fn removing_says_how_many_and_how_far() {
    let cache = Cache::memory();
    for id in 0..10 {
        cache
            .set(&Key::new("users").part("id", &id), &id, MINUTE)
            .await
            .unwrap();
    }
    cache
        .set(&Key::raw("usersAbc:1"), &1, MINUTE)
        .await
        .unwrap();
    let one = cache
        .remove(&Key::new("users").part("id", &3))
        .await
        .unwrap();
    assert_eq!((one.removed, one.reach), (1, Reach::Applied));
    let nine = cache.invalidate(&KeyPattern::new("users:*")).await.unwrap();
    assert_eq!(nine.removed, 9, "a neighbour with a longer name stays");
    assert_eq!(cache.clear().await.unwrap().removed, 1);
}

#[tokio::test]
async fn many_keys_come_back_in_their_order() {
    let cache = Cache::memory();
    let keys: Vec<Key> = (0..5).map(|id| Key::new("many").part("id", &id)).collect();
    for id in [0, 2, 4] {
        cache.set(&keys[id], &id, MINUTE).await.unwrap();
    }
    let values: Vec<Option<usize>> = cache.get_many(&keys).await.unwrap();
    assert_eq!(values, [Some(0), None, Some(2), None, Some(4)]);
}

#[tokio::test]
async fn a_ttl_of_zero_stores_nothing() {
    let key = key();
    let cache = Cache::memory();
    let load = || cache.get_or_load(&key, Ttl::secs(0), || async { 1 });
    load().await;
    load().await;
    assert_eq!(cache.stats().total.loads, 2);
    cache.set(&key, &1, Ttl::secs(0)).await.unwrap();
    assert_eq!(cache.get::<i32>(&key).await.unwrap(), None);
}

#[tokio::test]
async fn the_longest_ttl_is_no_overflow() {
    let key = key();
    let cache = Cache::memory();
    let ttl = Ttl::from_duration(Duration::MAX);
    cache.set(&key, &1, ttl).await.unwrap();
    assert_eq!(cache.get(&key).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_cache_that_is_off_loads_and_stores_nothing() {
    let key = key();
    let cache = Cache::memory();
    cache.set(&key, &1, MINUTE).await.unwrap();
    cache.disable();
    let load = || cache.get_or_load(&key, MINUTE, || async { 2 });
    assert_eq!((load().await, load().await), (2, 2));
    assert_eq!(cache.get::<i32>(&key).await.unwrap(), None);
    cache.remove(&key).await.unwrap();
    cache.enable();
    assert_eq!(
        cache.get::<i32>(&key).await.unwrap(),
        None,
        "a removal acts although the cache is off"
    );
}

#[tokio::test]
async fn a_closed_cache_simply_runs_the_function() {
    let key = key();
    let cache = Cache::memory();
    assert!(cache.close().await);
    let value = cache.get_or_load(&key, MINUTE, || async { 3 }).await;
    assert_eq!(value, 3);
}

#[cached(ttl = 60, prefix = "double")]
async fn double(of: u64, loads: &Counted) -> u64 {
    loads.0.add();
    of * 2
}

/// A counter that is no part of the key.
struct Counted(Arc<Counter>);

impl dexter_cache::CacheKey for Counted {
    fn write_key(&self, _: &mut dexter_cache::KeyWriter<'_>) {}
}

#[tokio::test]
async fn without_a_cache_the_function_simply_runs() {
    let loads = Counted(Counter::new());
    assert_eq!(double(2, &loads).await, 4);
    assert_eq!(double(2, &loads).await, 4);
    assert_eq!(loads.0.get(), 2);
}

#[tokio::test]
async fn a_spawned_task_leaves_the_scope_unless_it_takes_it_along() {
    let cache = Cache::memory();
    let loads = Counted(Counter::new());
    cache
        .scope(async {
            double(2, &loads).await;
            double(2, &loads).await;
            assert_eq!(loads.0.get(), 1);
            tokio::spawn(async { assert!(Cache::current().is_none()) })
                .await
                .unwrap();
            tokio::spawn(async { assert!(Cache::current().is_some()) }.in_cache_scope())
                .await
                .unwrap();
        })
        .await;
}

#[tokio::test]
async fn an_inner_scope_hides_the_outer_one() {
    let (outer, inner) = (Cache::memory(), Cache::memory());
    let loads = Counted(Counter::new());
    outer
        .scope(async {
            double(2, &loads).await;
            inner.scope(double(2, &loads)).await;
            double(2, &loads).await;
        })
        .await;
    assert_eq!(loads.0.get(), 2);
    assert_eq!(outer.stats().total.hits, 1);
}

#[tokio::test]
async fn a_namespace_is_a_word_that_no_pattern_and_no_key_of_the_library_means() {
    for namespace in [
        "",
        "a:b",
        "a*",
        "a?",
        "[a]",
        "a\\",
        "^a",
        "{a}",
        "a b",
        "a\n",
        "dexter-cache",
    ] {
        let built = Cache::builder().namespace(namespace).build().await;
        let error = built.expect_err(namespace);
        assert_eq!(error.kind(), dexter_cache::ErrorKind::Config, "{namespace}");
    }
    for namespace in ["dexter", "dexter-cache-2", "a%b", "ü"] {
        assert!(
            Cache::builder().namespace(namespace).build().await.is_ok(),
            "{namespace}"
        );
    }
}
