//! Values that are loaded anew before they expire, with nobody waiting for it.

use std::sync::Arc;

use dexter_cache::backend::MemoryBackend;
use dexter_cache::test_util::{Op, RecordingBackend, TestClock};
use dexter_cache::{Cache, CacheContext, KeyPattern, Policy, cached, refresh};

use crate::origin::{Down, MINUTE, Origin, SECOND, clocked, key, policy, settle};

fn ahead() -> Policy {
    policy().refresh_ahead(0.8)
}

async fn call(cache: &Cache, origin: &Arc<Origin>) -> Result<u32, Down> {
    let load = || Arc::clone(origin).load();
    cache.try_get_or_load_detached(&key(), ahead(), load).await
}

#[tokio::test]
async fn from_its_part_of_the_ttl_on_one_caller_begins_a_load_and_nobody_waits() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    assert_eq!(call(&cache, &origin).await, Ok(1));
    clock.advance(MINUTE * 8 / 10 - SECOND);
    assert_eq!(call(&cache, &origin).await, Ok(1));
    settle().await;
    assert_eq!(origin.loads(), 1, "not yet");
    clock.advance(SECOND);
    origin.hang();
    for _ in 0..10 {
        assert_eq!(call(&cache, &origin).await, Ok(1));
        settle().await;
    }
    assert_eq!(origin.loads(), 2, "one load");
    origin.go_on();
    settle().await;
    assert_eq!(call(&cache, &origin).await, Ok(2));
    clock.advance(MINUTE * 8 / 10 - SECOND);
    assert_eq!(call(&cache, &origin).await, Ok(2));
    settle().await;
    assert_eq!(origin.loads(), 2, "its life begins anew");
    let stats = cache.stats().total;
    assert_eq!((stats.misses, stats.stale), (1, 0));
}

#[tokio::test]
async fn scar_1_a_refresh_is_dropped_if_the_entry_is_removed_or_replaced_meanwhile() {
    for how in 0..4 {
        let ((cache, clock), origin) = (clocked().await, Origin::new());
        call(&cache, &origin).await.unwrap();
        clock.advance(MINUTE - SECOND);
        origin.hang();
        call(&cache, &origin).await.unwrap();
        settle().await;
        assert_eq!(origin.loads(), 2);
        match how {
            0 => drop(cache.remove(&key()).await.unwrap()),
            1 => drop(cache.invalidate(&KeyPattern::new("l*")).await.unwrap()),
            2 => drop(cache.clear().await.unwrap()),
            _ => cache
                .set(&key(), &7_u32, dexter_cache::Ttl::secs(60))
                .await
                .unwrap(),
        }
        origin.go_on();
        settle().await;
        let left = cache.get::<u32>(&key()).await.unwrap();
        assert_eq!(left, (how == 3).then_some(7), "way {how}");
    }
}

#[tokio::test]
async fn a_refresh_that_fails_or_panics_keeps_the_value_and_waits_for_the_throttle() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    let policy = || ahead().throttle(SECOND * 5);
    let call = async |panics: bool| {
        let origin = Arc::clone(&origin);
        let load = move || async move {
            let loaded = origin.load().await;
            assert!(!panics, "told to");
            loaded
        };
        cache.try_get_or_load_detached(&key(), policy(), load).await
    };
    call(false).await.unwrap();
    clock.advance(MINUTE - SECOND * 12);
    origin.break_down();
    for panics in [false, true] {
        let loads = origin.loads();
        for _ in 0..3 {
            assert_eq!(call(panics).await, Ok(1));
            settle().await;
        }
        assert_eq!(origin.loads(), loads + 1);
        clock.advance(SECOND * 5);
    }
    assert_eq!(cache.stats().total.failed_loads, 2);
}

#[tokio::test]
async fn who_misses_while_a_refresh_runs_joins_it() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    clock.advance(MINUTE - SECOND);
    origin.hang();
    call(&cache, &origin).await.unwrap();
    settle().await;
    clock.advance(SECOND);
    let calling = tokio::spawn({
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        async move { call(&cache, &origin).await }
    });
    settle().await;
    origin.go_on();
    assert_eq!(calling.await.unwrap(), Ok(2));
    assert_eq!(origin.loads(), 2);
}

#[tokio::test]
async fn a_refresh_by_hand_goes_before_one_ahead() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    clock.advance(MINUTE - SECOND);
    origin.hang();
    call(&cache, &origin).await.unwrap();
    settle().await;
    let refreshing = tokio::spawn({
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        async move { refresh(call(&cache, &origin)).await }
    });
    settle().await;
    origin.go_on();
    assert_eq!(refreshing.await.unwrap(), Ok(3));
    settle().await;
    assert_eq!(call(&cache, &origin).await, Ok(3));
}

#[derive(Clone)]
struct Handle(Arc<Origin>);

#[cached(ttl = "1m", refresh_ahead = 0.5, prefix = "ahead_macro", skip(origin))]
async fn annotated(name: &str, origin: Handle) -> Result<u32, Down> {
    let _ = name;
    origin.0.load().await
}

#[tokio::test]
async fn an_annotated_function_clones_what_it_borrows() {
    let ((cache, clock), origin) = (clocked().await, Handle(Origin::new()));
    let calls = async {
        assert_eq!(annotated("a", origin.clone()).await, Ok(1));
        clock.advance(MINUTE / 2);
        assert_eq!(annotated::peek("a").await.unwrap(), Some(Ok(1)));
        settle().await;
        assert_eq!(origin.0.loads(), 1, "looking begins nothing");
        assert_eq!(annotated("a", origin.clone()).await, Ok(1));
        settle().await;
        assert_eq!(annotated("a", origin.clone()).await, Ok(2));
    };
    cache.scope(calls).await;
}

#[cached(
    ttl = "1m",
    refresh_ahead = 0.5,
    prefix = "ahead_counted",
    skip(origin)
)]
async fn counted(origin: Handle) -> Result<Arc<u32>, Down> {
    origin.0.load().await.map(Arc::new)
}

#[tokio::test]
async fn an_arc_is_refreshed_as_any_value_is() {
    let ((cache, clock), origin) = (clocked().await, Handle(Origin::new()));
    let calls = async {
        assert_eq!(counted(origin.clone()).await, Ok(Arc::new(1)));
        clock.advance(MINUTE / 2);
        assert_eq!(counted(origin.clone()).await, Ok(Arc::new(1)));
        settle().await;
        assert_eq!(counted(origin.clone()).await, Ok(Arc::new(2)));
    };
    cache.scope(calls).await;
    // Who does not know that it is an `Arc` reads it all the same.
    let read = cache.get::<Arc<u32>>(&counted::key()).await.unwrap();
    assert_eq!(read, Some(Arc::new(2)));
    assert_eq!(cache.get_many(&[counted::key()]).await.unwrap(), [read]);
}

/// What it brings first is stored. After that it brings nothing, or what is not to be stored.
#[cached(ttl = "1m", refresh_ahead = 0.5, prefix = "ahead_keeps", skip(origin))]
async fn keeps(next: u32, origin: Handle) -> Option<u32> {
    let load = origin.0.load().await.ok()?;
    match next {
        _ if load == 1 => {}
        0 => return None,
        _ => CacheContext::current()?.do_not_store(),
    }
    Some(load)
}

#[tokio::test]
async fn a_refresh_that_brings_nothing_to_store_waits_for_the_throttle() {
    for over_a_backend in [false, true] {
        for next in [0, 1] {
            let clock = TestClock::new();
            let mut builder = Cache::builder().clock(&clock).jitter(0.0);
            if over_a_backend {
                builder = builder.backend(MemoryBackend::with_clock(100, &clock));
            }
            let cache = builder.build().await.unwrap();
            let origin = Handle(Origin::new());
            let calls = async {
                assert_eq!(keeps(next, origin.clone()).await, Some(1));
                settle().await;
                clock.advance(MINUTE / 2);
                for _ in 0..5 {
                    assert_eq!(keeps(next, origin.clone()).await, Some(1));
                    settle().await;
                }
            };
            cache.scope(calls).await;
            let case = format!("over a backend {over_a_backend}, next {next}");
            assert_eq!(origin.0.loads(), 2, "{case}");
        }
    }
}

#[cached(
    ttl = "1m",
    none_ttl = "1m",
    refresh_ahead = 0.5,
    prefix = "ahead_none",
    skip(origin)
)]
async fn none(origin: Handle) -> Option<u32> {
    origin.0.load().await.ok()
}

#[tokio::test]
async fn a_none_that_is_remembered_is_not_refreshed_ahead() {
    let clock = TestClock::new();
    let backend = RecordingBackend::wrapping(MemoryBackend::with_clock(100, &clock));
    let builder = Cache::builder().clock(&clock).backend(backend.clone());
    let cache = builder.jitter(0.0).build().await.unwrap();
    let origin = Handle(Origin::new());
    origin.0.break_down();
    let calls = async {
        assert_eq!(none(origin.clone()).await, None);
        settle().await;
        clock.advance(MINUTE - SECOND);
        let written = backend.count(Op::Set);
        for _ in 0..3 {
            assert_eq!(none(origin.clone()).await, None);
            settle().await;
        }
        assert_eq!(backend.count(Op::Set), written);
    };
    cache.scope(calls).await;
    assert_eq!(origin.0.loads(), 1);
}

#[tokio::test]
async fn a_refresh_that_panics_over_a_value_in_a_backend_waits_for_the_throttle() {
    let clock = TestClock::new();
    let backend = MemoryBackend::with_clock(100, &clock);
    let builder = Cache::builder().clock(&clock).backend(backend).jitter(0.0);
    let (cache, origin) = (builder.build().await.unwrap(), Origin::new());
    assert_eq!(call(&cache, &origin).await, Ok(1));
    settle().await;
    clock.advance(MINUTE - SECOND * 10);
    let key = key();
    for _ in 0..5 {
        let origin = Arc::clone(&origin);
        let load = move || async move {
            origin.load().await?;
            panic!("told to")
        };
        let value = cache.try_get_or_load_detached::<u32, Down, _>(&key, ahead(), load);
        assert_eq!(value.await, Ok(1));
        settle().await;
    }
    assert_eq!(origin.loads(), 2);
}
