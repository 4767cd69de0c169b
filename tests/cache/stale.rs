//! Values past their TTL, which answer where a load fails.

use std::sync::Arc;

use dexter_cache::backend::MemoryBackend;
use dexter_cache::test_util::TestClock;
use dexter_cache::{Cache, KeyPattern, Policy, Ttl, bypass, cached, refresh};

use crate::origin::{Down, HOUR, MINUTE, Origin, SECOND, THROTTLE, clocked, key, policy, settle};
use support::cut_off;

async fn call(cache: &Cache, origin: &Arc<Origin>) -> Result<u32, Down> {
    let load = || Arc::clone(origin).load();
    cache.try_get_or_load(&key(), policy(), load).await
}

async fn call_detached(cache: &Cache, origin: &Arc<Origin>) -> Result<u32, Down> {
    let load = || Arc::clone(origin).load();
    cache.try_get_or_load_detached(&key(), policy(), load).await
}

#[tokio::test]
async fn a_stale_value_answers_for_a_load_that_fails_and_the_next_one_waits() {
    for detached in [false, true] {
        let ((cache, clock), origin) = (clocked().await, Origin::new());
        let call = async || {
            if detached {
                call_detached(&cache, &origin).await
            } else {
                call(&cache, &origin).await
            }
        };
        assert_eq!(call().await, Ok(1));
        clock.advance(MINUTE);
        origin.break_down();
        assert_eq!(call().await, Ok(1), "the load has failed");
        assert_eq!(origin.loads(), 2);
        assert_eq!(call().await, Ok(1), "no load is tried");
        assert_eq!(origin.loads(), 2);
        clock.advance(THROTTLE);
        assert_eq!(call().await, Ok(1));
        assert_eq!(origin.loads(), 3);
        clock.advance(THROTTLE);
        origin.repair();
        assert_eq!(call().await, Ok(4), "a load that succeeds replaces it");
        let stats = cache.stats().total;
        assert_eq!((stats.stale, stats.failed_loads), (3, 2));
        assert_eq!(
            (stats.hits, stats.misses),
            (0, 5),
            "each call is one of them"
        );
    }
}

#[tokio::test]
async fn a_stale_value_is_bounded_in_age_however_often_loads_fail() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    assert_eq!(call(&cache, &origin).await, Ok(1));
    origin.break_down();
    clock.advance(MINUTE);
    for _ in 0..120 {
        assert_eq!(call(&cache, &origin).await, Ok(1));
        clock.advance(THROTTLE);
    }
    assert_eq!(call(&cache, &origin).await, Err(Down), "an hour is over");
    assert_eq!(cache.stats().total.stale, 120);
}

#[tokio::test]
async fn an_evicted_window_shorter_than_the_throttle_ends_all_the_same() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    let call = async || {
        let policy = Policy::new(Ttl::from_duration(MINUTE)).stale(SECOND * 10);
        let load = || Arc::clone(&origin).load();
        cache.try_get_or_load(&key(), policy, load).await
    };
    assert_eq!(call().await, Ok(1));
    origin.break_down();
    clock.advance(MINUTE + SECOND);
    assert_eq!(call().await, Ok(1));
    clock.advance(SECOND * 9);
    assert_eq!(call().await, Err(Down));
}

#[tokio::test]
async fn looking_never_shows_a_stale_value() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1));
    clock.advance(MINUTE);
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
    assert_eq!(cache.get_many::<u32>(&[key()]).await.unwrap(), [None]);
}

/// What takes a value away for good.
async fn take_away(cache: &Cache, how: u32) {
    let removed = match how {
        0 => cache.remove(&key()).await,
        1 => cache.invalidate(&KeyPattern::new("lives:*")).await,
        _ => cache.clear().await,
    };
    removed.unwrap();
}

#[tokio::test]
async fn scar_15_what_was_removed_is_never_fallen_back_on() {
    for how in 0..3 {
        let ((cache, clock), origin) = (clocked().await, Origin::new());
        call(&cache, &origin).await.unwrap();
        clock.advance(MINUTE);
        origin.break_down();
        assert_eq!(call(&cache, &origin).await, Ok(1));
        take_away(&cache, how).await;
        assert_eq!(call(&cache, &origin).await, Err(Down), "way {how}");
    }
}

#[tokio::test]
async fn scar_1_what_was_removed_while_a_load_ran_is_not_fallen_back_on() {
    for how in 0..3 {
        for detached in [false, true] {
            let ((cache, clock), origin) = (clocked().await, Origin::new());
            call(&cache, &origin).await.unwrap();
            clock.advance(MINUTE);
            origin.break_down();
            origin.hang();
            let calling = tokio::spawn({
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                async move {
                    if detached {
                        call_detached(&cache, &origin).await
                    } else {
                        call(&cache, &origin).await
                    }
                }
            });
            settle().await;
            take_away(&cache, how).await;
            origin.go_on();
            assert_eq!(calling.await.unwrap(), Err(Down), "way {how}");
        }
    }
}

#[tokio::test]
async fn a_set_while_a_load_fails_stays() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    clock.advance(MINUTE);
    origin.break_down();
    origin.hang();
    let calling = tokio::spawn({
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        async move { call(&cache, &origin).await }
    });
    settle().await;
    cache.set(&key(), &7_u32, Ttl::secs(60)).await.unwrap();
    origin.go_on();
    assert_eq!(calling.await.unwrap(), Err(Down));
    assert_eq!(call(&cache, &origin).await, Ok(7));
}

#[tokio::test]
async fn followers_of_a_load_that_fails_get_the_stale_value_and_load_nothing() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    clock.advance(MINUTE);
    origin.break_down();
    origin.hang();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            tokio::spawn(async move { call(&cache, &origin).await })
        })
        .collect();
    settle().await;
    origin.go_on();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(1));
    }
    assert_eq!(origin.loads(), 2);
    assert_eq!(cache.stats().total.stale, 100);
}

#[tokio::test]
async fn a_panic_is_the_callers_own_although_something_stale_is_there() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    clock.advance(MINUTE);
    for detached in [false, true] {
        let cache = cache.clone();
        let calling = tokio::spawn(async move {
            let load = || async { panic!("told to") };
            if detached {
                let _ = cache
                    .try_get_or_load_detached::<u32, Down, _>(&key(), policy(), load)
                    .await;
            } else {
                let _ = cache
                    .try_get_or_load::<u32, Down, _>(&key(), policy(), load)
                    .await;
            }
        });
        assert!(calling.await.unwrap_err().is_panic());
    }
    origin.break_down();
    assert_eq!(call(&cache, &origin).await, Ok(1), "it is still there");
}

#[tokio::test]
async fn a_refresh_that_fails_says_so_and_keeps_what_is_there() {
    let ((cache, clock), origin) = (clocked().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    origin.break_down();
    assert_eq!(refresh(call(&cache, &origin)).await, Err(Down));
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1), "fresh");
    clock.advance(MINUTE);
    assert_eq!(refresh(call(&cache, &origin)).await, Err(Down));
    assert_eq!(bypass(call(&cache, &origin)).await, Err(Down));
    assert_eq!(call(&cache, &origin).await, Ok(1), "stale");
}

#[tokio::test]
async fn scar_16_a_leader_cut_off_at_each_await_leaves_the_stale_value_to_others() {
    for polls in 0..8 {
        let ((cache, clock), origin) = (clocked().await, Origin::new());
        call(&cache, &origin).await.unwrap();
        clock.advance(MINUTE);
        origin.break_down();
        let slow = || async {
            crate::cancel::some_awaits().await;
            Arc::clone(&origin).load().await
        };
        let _ = cut_off(cache.try_get_or_load(&key(), policy(), slow), polls).await;
        assert_eq!(call(&cache, &origin).await, Ok(1), "after {polls} polls");
        assert!(origin.loads() <= 3);
    }
}

#[derive(Clone)]
struct Handle(Arc<Origin>);

#[cached(
    ttl = "1m",
    stale = "1h",
    throttle = "10s",
    prefix = "stale_macro",
    skip(origin)
)]
async fn annotated(id: u32, origin: Handle) -> Result<u32, String> {
    let _ = id;
    origin.0.load().await.map_err(|Down| "down".to_owned())
}

#[cached(local, ttl = "1m", stale = "1h", prefix = "stale_local", skip(origin))]
async fn inline(id: u32, origin: &Origin) -> Result<u32, Down> {
    let _ = (id, origin);
    Err(Down)
}

#[tokio::test]
async fn an_annotated_function_says_it_in_its_attribute() {
    let ((cache, clock), origin) = (clocked().await, Handle(Origin::new()));
    let calls = async {
        assert_eq!(annotated(1, origin.clone()).await, Ok(1));
        clock.advance(MINUTE + SECOND);
        origin.0.break_down();
        assert_eq!(annotated(1, origin.clone()).await, Ok(1));
        assert_eq!(annotated::peek(1).await.unwrap(), None);
        clock.advance(SECOND * 9);
        assert_eq!(annotated(1, origin.clone()).await, Ok(1));
        assert_eq!(origin.0.loads(), 2);
        clock.advance(SECOND);
        assert_eq!(annotated(1, origin.clone()).await, Ok(1));
        assert_eq!(origin.0.loads(), 3);
        assert_eq!(
            annotated::refresh(1, origin.clone()).await,
            Err("down".to_owned())
        );
        annotated::remove(1).await.unwrap();
        assert!(annotated(1, origin.clone()).await.is_err());
        assert!(inline(1, &origin.0).await.is_err());
    };
    cache.scope(calls).await;
}

#[cached(ttl = "1m", stale = "1h", prefix = "stale_none", skip(origin))]
async fn optional(id: u32, origin: Handle) -> Result<Option<u32>, Down> {
    let _ = id;
    let load = origin.0.load().await?;
    Ok((load != 2).then_some(load))
}

#[tokio::test]
async fn none_is_an_answer_and_ends_the_stale_value() {
    let ((cache, clock), origin) = (clocked().await, Handle(Origin::new()));
    let calls = async {
        assert_eq!(optional(1, origin.clone()).await, Ok(Some(1)));
        clock.advance(MINUTE);
        assert_eq!(optional(1, origin.clone()).await, Ok(None));
        origin.0.break_down();
        assert_eq!(optional(1, origin.clone()).await, Err(Down));
    };
    cache.scope(calls).await;
    assert_eq!(cache.stats().total.failed_loads, 1);
}

#[tokio::test]
async fn a_set_value_is_kept_as_its_policy_says() {
    for over_a_backend in [false, true] {
        let clock = TestClock::new();
        let mut builder = Cache::builder().clock(&clock).jitter(0.0);
        if over_a_backend {
            builder = builder.backend(MemoryBackend::with_clock(100, &clock));
        }
        let (cache, origin) = (builder.build().await.unwrap(), Origin::new());
        origin.break_down();
        cache.set(&key(), &7_u32, policy()).await.unwrap();
        assert_eq!(call(&cache, &origin).await, Ok(7));
        clock.advance(MINUTE + HOUR - SECOND);
        assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
        assert_eq!(call(&cache, &origin).await, Ok(7), "fallen back on");
        clock.advance(SECOND);
        assert_eq!(call(&cache, &origin).await, Err(Down));
        cache.set(&key(), &7_u32, Ttl::secs(60)).await.unwrap();
        clock.advance(MINUTE);
        assert_eq!(call(&cache, &origin).await, Err(Down), "a plain one");
    }
}
