//! Two caches over one backend, as two processes have it: what one of them knows of a stale value, the other one does.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::backend::MemoryBackend;
use dexter_cache::test_util::{Fault, FaultyBackend, Op, TestClock};
use dexter_cache::{
    Cache, CacheContext, Clear, ErrorKind, Key, KeyPattern, Policy, Ttl, cached, refresh,
};

use support::cut_off;

use crate::cancel::some_awaits;
use crate::origin::{Down, HOUR, MINUTE, Origin, SECOND, THROTTLE, key, policy, settle};

struct Two {
    here: Cache,
    there: Cache,
    backend: FaultyBackend,
    clock: TestClock,
}

impl Two {
    async fn new() -> Self {
        let clock = TestClock::tokio();
        let backend = FaultyBackend::wrapping(MemoryBackend::with_clock(100, &clock));
        let build = || async {
            let builder = Cache::builder()
                .backend(backend.clone())
                .clock(&clock)
                .namespace("two")
                .jitter(0.0);
            builder.build().await.expect("the options are good")
        };
        Self {
            here: build().await,
            there: build().await,
            backend,
            clock,
        }
    }

    /// Both caches with a value in the backend that is stale now.
    async fn stale(origin: &Arc<Origin>) -> Self {
        let two = Self::new().await;
        assert_eq!(call(&two.here, origin).await, Ok(1));
        settle().await;
        two.clock.advance(MINUTE);
        two
    }
}

async fn call(cache: &Cache, origin: &Arc<Origin>) -> Result<u32, Down> {
    let load = || Arc::clone(origin).load();
    cache.try_get_or_load(&key(), policy(), load).await
}

async fn call_detached(cache: &Cache, origin: &Arc<Origin>) -> Result<u32, Down> {
    let load = || Arc::clone(origin).load();
    cache.try_get_or_load_detached(&key(), policy(), load).await
}

#[tokio::test(start_paused = true)]
async fn after_a_load_that_failed_no_process_tries_before_the_throttle() {
    for detached in [false, true] {
        let origin = Origin::new();
        let two = Two::stale(&origin).await;
        origin.break_down();
        let failing = if detached {
            call_detached(&two.here, &origin).await
        } else {
            call(&two.here, &origin).await
        };
        assert_eq!(failing, Ok(1));
        settle().await;
        for cache in [&two.there, &two.here] {
            assert_eq!(call(cache, &origin).await, Ok(1));
            assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None, "not fresh");
        }
        assert_eq!(origin.loads(), 2);
        two.clock.advance(THROTTLE);
        assert_eq!(call(&two.there, &origin).await, Ok(1));
        assert_eq!(origin.loads(), 3);
        two.clock.advance(THROTTLE);
        origin.repair();
        assert_eq!(call(&two.there, &origin).await, Ok(4));
        settle().await;
        assert_eq!(call(&two.here, &origin).await, Ok(4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_bounded_in_age_however_often_loads_fail_anywhere() {
    let origin = Origin::new();
    let two = Two::stale(&origin).await;
    origin.break_down();
    for _ in 0..60 {
        for cache in [&two.here, &two.there] {
            assert_eq!(call(cache, &origin).await, Ok(1));
            settle().await;
        }
        two.clock.advance(MINUTE);
    }
    for cache in [&two.here, &two.there] {
        assert_eq!(call(cache, &origin).await, Err(Down));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_another_process_loads_over_a_stale_value_waits_and_gets_the_new_one() {
    let origin = Origin::new();
    let two = Two::stale(&origin).await;
    origin.hang();
    let tasks = [&two.here, &two.there].map(|cache| {
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        tokio::spawn(async move { call(&cache, &origin).await })
    });
    tokio::time::sleep(SECOND).await;
    origin.go_on();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(2));
    }
    assert_eq!(origin.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn patience_with_another_process_ends_with_the_stale_value() {
    let origin = Origin::new();
    let two = Two::stale(&origin).await;
    origin.hang();
    let loading = tokio::spawn({
        let (cache, origin) = (two.here.clone(), Arc::clone(&origin));
        async move { call(&cache, &origin).await }
    });
    settle().await;
    let soft = Duration::from_millis(200);
    for (policy, most) in [
        (policy(), Duration::from_secs(6)),
        (policy().soft_timeout(soft), soft * 2),
    ] {
        let begun = tokio::time::Instant::now();
        let load = || Arc::clone(&origin).load();
        let answer = two
            .there
            .try_get_or_load_detached(&key(), policy, load)
            .await;
        assert_eq!(answer, Ok(1));
        assert!(begun.elapsed() <= most, "{:?}", begun.elapsed());
    }
    assert_eq!(origin.loads(), 2, "the lease in the header is renewed");
    origin.go_on();
    assert_eq!(loading.await.unwrap(), Ok(2));
}

async fn take_away(cache: &Cache, how: u32) {
    let removed = match how {
        0 => cache.remove(&key()).await,
        1 => cache.invalidate(&KeyPattern::new("lives:*")).await,
        _ => cache.clear().await,
    };
    removed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn scar_15_what_another_process_removed_is_never_fallen_back_on() {
    for how in 0..3 {
        for during in [false, true] {
            let origin = Origin::new();
            let two = Two::stale(&origin).await;
            origin.break_down();
            if !during {
                take_away(&two.there, how).await;
                assert_eq!(call_detached(&two.here, &origin).await, Err(Down));
                continue;
            }
            origin.hang();
            let calling = tokio::spawn({
                let (cache, origin) = (two.here.clone(), Arc::clone(&origin));
                async move { call_detached(&cache, &origin).await }
            });
            settle().await;
            take_away(&two.there, how).await;
            origin.go_on();
            assert_eq!(calling.await.unwrap(), Err(Down), "way {how}");
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Told;

#[tokio::test(start_paused = true)]
async fn an_error_that_can_be_shared_is_kept_while_the_backend_is_asked() {
    let origin = Origin::new();
    let two = Two::stale(&origin).await;
    let removing = || async {
        take_away(&two.there, 0).await;
        Err::<u32, _>(Told)
    };
    let answer = two
        .here
        .try_get_or_load_shared(&key(), policy(), removing)
        .await;
    assert_eq!(answer, Err(Told));
}

#[tokio::test(start_paused = true)]
async fn scar_1_a_load_over_a_stale_value_is_not_stored_after_a_removal_elsewhere() {
    let origin = Origin::new();
    let two = Two::stale(&origin).await;
    origin.hang();
    let calling = tokio::spawn({
        let (cache, origin) = (two.here.clone(), Arc::clone(&origin));
        async move { call(&cache, &origin).await }
    });
    settle().await;
    two.there.remove(&key()).await.unwrap();
    origin.go_on();
    assert_eq!(calling.await.unwrap(), Ok(2));
    settle().await;
    assert_eq!(two.here.get::<u32>(&key()).await.unwrap(), None);
    assert_eq!(two.here.stats().total.fenced, 1);
}

#[tokio::test(start_paused = true)]
async fn scar_16_a_leader_cut_off_at_each_await_leaves_no_lease_in_the_header() {
    for ahead in [false, true] {
        for polls in 0..12 {
            let origin = Origin::new();
            let two = Two::stale(&origin).await;
            let begun = tokio::time::Instant::now();
            let load = || async {
                some_awaits().await;
                Arc::clone(&origin).load().await
            };
            let key = key();
            let cut = two.here.try_get_or_load(&key, policy(), load);
            if ahead {
                let _ = cut_off(refresh(cut), polls).await;
            } else {
                let _ = cut_off(cut, polls).await;
            }
            settle().await;
            assert!(call(&two.there, &origin).await.is_ok());
            assert!(
                begun.elapsed() < SECOND,
                "a lease of nobody after {polls} polls"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_the_value_as_it_was() {
    let origin = Origin::new();
    let two = Two::new().await;
    assert_eq!(call(&two.here, &origin).await, Ok(1));
    settle().await;
    origin.break_down();
    assert_eq!(refresh(call(&two.here, &origin)).await, Err(Down));
    settle().await;
    for cache in [&two.here, &two.there] {
        assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1));
    }
    two.clock.advance(MINUTE);
    assert_eq!(refresh(call(&two.here, &origin)).await, Err(Down));
    settle().await;
    assert_eq!(call(&two.there, &origin).await, Ok(1), "still kept");
    assert_eq!(origin.loads(), 4, "no lease and no throttle was left");
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_refreshes_ahead_and_the_other_one_takes_what_it_brought() {
    let origin = Origin::new();
    let two = Two::new().await;
    let call = async |cache: &Cache| {
        let load = || Arc::clone(&origin).load();
        let policy = policy().refresh_ahead(0.5);
        cache.try_get_or_load_detached(&key(), policy, load).await
    };
    assert_eq!(call(&two.here).await, Ok(1));
    settle().await;
    two.clock.advance(MINUTE / 2);
    origin.hang();
    for _ in 0..3 {
        for cache in [&two.here, &two.there] {
            assert_eq!(call(cache).await, Ok(1), "nobody waits");
            settle().await;
        }
    }
    assert_eq!(origin.loads(), 2);
    origin.go_on();
    settle().await;
    for cache in [&two.here, &two.there] {
        assert_eq!(call(cache).await, Ok(2));
    }
    origin.break_down();
    two.clock.advance(MINUTE / 2);
    for _ in 0..3 {
        for cache in [&two.here, &two.there] {
            assert_eq!(call(cache).await, Ok(2));
            settle().await;
        }
    }
    assert_eq!(
        origin.loads(),
        3,
        "the one that failed puts the next one off for all"
    );
    two.clock.advance(MINUTE / 2);
    assert_eq!(
        call(&two.there).await,
        Ok(2),
        "stale, and a load has failed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refresh_ahead_is_dropped_if_the_value_is_removed_elsewhere() {
    let origin = Origin::new();
    let two = Two::new().await;
    let call = async |cache: &Cache| {
        let load = || Arc::clone(&origin).load();
        let policy = policy().refresh_ahead(0.5);
        cache.try_get_or_load_detached(&key(), policy, load).await
    };
    call(&two.here).await.unwrap();
    settle().await;
    two.clock.advance(MINUTE / 2);
    origin.hang();
    call(&two.here).await.unwrap();
    settle().await;
    two.there.remove(&key()).await.unwrap();
    origin.go_on();
    settle().await;
    assert_eq!(origin.loads(), 2);
    assert_eq!(two.here.get::<u32>(&key()).await.unwrap(), None);
}

#[derive(Clone)]
struct Handle(Arc<Origin>);

#[cached(
    ttl = "1m",
    none_ttl = "10s",
    stale = "1h",
    prefix = "shared_none",
    skip(origin)
)]
async fn find(id: u32, origin: Handle) -> Result<Option<u32>, Down> {
    let load = origin.0.load().await?;
    Ok((load != id).then_some(load))
}

#[tokio::test(start_paused = true)]
async fn a_none_is_remembered_for_all_and_ends_a_stale_value() {
    let (two, origin) = (Two::new().await, Handle(Origin::new()));
    let find_in = |cache: &Cache| cache.scope(find(2, origin.clone()));
    assert_eq!(find_in(&two.here).await, Ok(Some(1)));
    settle().await;
    two.clock.advance(MINUTE);
    assert_eq!(find_in(&two.here).await, Ok(None));
    settle().await;
    assert_eq!(find_in(&two.there).await, Ok(None));
    assert_eq!(origin.0.loads(), 2);
    let peeked = two.there.scope(find::peek(2)).await.unwrap();
    assert_eq!(peeked, Some(Ok(None)));
    assert_eq!(two.there.get::<u32>(&find::key(2)).await.unwrap(), None);
    two.clock.advance(SECOND * 10);
    origin.0.break_down();
    assert_eq!(
        find_in(&two.there).await,
        Err(Down),
        "no value to fall back on"
    );
}

#[tokio::test(start_paused = true)]
async fn the_etag_travels_with_the_value() {
    let two = Two::new().await;
    let load = async |cache: &Cache| {
        let load = || async {
            let context = CacheContext::current().unwrap();
            if let Some(etag) = context.etag() {
                assert_eq!(etag, "\"1\"");
                return context.not_modified().unwrap();
            }
            context.set_etag("\"1\"");
            1_u32
        };
        cache.get_or_load(&key(), policy(), load).await
    };
    for cache in [&two.here, &two.there, &two.here] {
        assert_eq!(load(cache).await, 1);
        settle().await;
        assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1));
        two.clock.advance(MINUTE);
    }
    assert_eq!(
        two.here.stats().total.loads + two.there.stats().total.loads,
        3
    );
}

#[tokio::test(start_paused = true)]
async fn when_the_backend_goes_while_a_load_fails_the_value_answers_for_the_fallback_ttl() {
    let origin = Origin::new();
    let two = Two::stale(&origin).await;
    origin.break_down();
    origin.hang();
    let calling = tokio::spawn({
        let (cache, origin) = (two.here.clone(), Arc::clone(&origin));
        async move { call_detached(&cache, &origin).await }
    });
    settle().await;
    two.backend.inject(Fault::Fail(ErrorKind::Unavailable));
    origin.go_on();
    assert_eq!(calling.await.unwrap(), Ok(1));
    let short = Policy::new(Ttl::from_duration(MINUTE))
        .stale(HOUR)
        .throttle(SECOND);
    let again = async || {
        let load = || Arc::clone(&origin).load();
        two.here.try_get_or_load(&key(), short.clone(), load).await
    };
    assert_eq!(again().await, Ok(1), "in memory");
    assert_eq!(origin.loads(), 2);
    two.clock.advance(Duration::from_secs(30));
    assert_eq!(again().await, Err(Down));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_memory_holds_a_value_for_the_fallback_ttl_altogether() {
    let (two, origin) = (Two::new().await, Origin::new());
    two.backend.inject(Fault::Fail(ErrorKind::Unavailable));
    let short = || Policy::new(Ttl::secs(20)).stale(HOUR).throttle(SECOND);
    let again = async || {
        let load = || Arc::clone(&origin).load();
        two.here.try_get_or_load(&key(), short(), load).await
    };
    assert_eq!(again().await, Ok(1));
    origin.break_down();
    two.clock.advance(SECOND * 20);
    assert_eq!(again().await, Ok(1), "stale");
    two.clock.advance(SECOND * 10);
    assert_eq!(again().await, Err(Down), "20 s fresh and 10 s stale");
}

#[tokio::test(start_paused = true)]
async fn scar_20_while_the_backend_is_away_so_many_loads_run_at_a_time() {
    let clock = TestClock::tokio();
    let backend = FaultyBackend::wrapping(MemoryBackend::with_clock(100, &clock));
    backend.inject(Fault::Fail(ErrorKind::Unavailable));
    let cache = Cache::builder()
        .backend(backend)
        .clock(&clock)
        .loads_while_away(3)
        .build()
        .await
        .unwrap();
    let origin = Origin::new();
    origin.hang();
    let calls: Vec<_> = (0..10)
        .map(|id| {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            let key = Key::new("away").part("id", &id);
            tokio::spawn(async move {
                let load = || origin.load();
                cache.try_get_or_load(&key, Ttl::secs(60), load).await
            })
        })
        .collect();
    settle().await;
    assert_eq!(origin.loads(), 3);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(origin.loads(), 10, "nobody waits for ever");
    origin.go_on();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_slower_than_it_may_be_counts_as_away_until_it_is_fast_again() {
    let clock = TestClock::tokio();
    let backend = FaultyBackend::wrapping(MemoryBackend::with_clock(100, &clock));
    let cache = Cache::builder()
        .backend(backend.clone())
        .clock(&clock)
        .slow_after(Duration::from_millis(50))
        .build()
        .await
        .unwrap();
    assert!(cache.health().is_whole());
    backend.inject(
        Fault::Delay(Duration::from_millis(100))
            .on(Op::Get)
            .on(Op::Ping),
    );
    for _ in 0..3 {
        assert!(cache.health().is_whole());
        cache.get::<u32>(&key()).await.unwrap();
    }
    assert!(!cache.health().is_whole(), "three in a row");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!cache.health().is_whole(), "the ping is slow");
    backend.heal();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cache.health().is_whole());
}

#[tokio::test(start_paused = true)]
async fn what_was_expired_is_not_fresh_by_any_clock() {
    let two = Two::new().await;
    // Another process, whose clock is a little behind.
    let behind = TestClock::tokio();
    let builder = Cache::builder().backend(two.backend.clone()).clock(&behind);
    let there = builder.namespace("two").build().await.unwrap();
    two.clock.advance(Duration::from_millis(20));
    two.here.set(&key(), &1_u32, policy()).await.unwrap();
    assert_eq!(there.get::<u32>(&key()).await.unwrap(), Some(1));
    there.clear_with(Clear::Expire).await.unwrap();
    assert_eq!(there.get::<u32>(&key()).await.unwrap(), None);
}
