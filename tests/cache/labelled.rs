//! Tags that a load has put on its value, when that value outlives its time.

use std::sync::Arc;

use dexter_cache::backend::MemoryBackend;
use dexter_cache::test_util::{Fault, FaultyBackend, TestClock};
use dexter_cache::{Cache, CacheContext, ErrorKind, Policy};

use crate::origin::{Down, MINUTE, Origin, SECOND, clocked, key, policy, settle};

/// A cache over a backend that can be broken; the time is tokio's.
async fn shared() -> (Cache, FaultyBackend, TestClock) {
    let clock = TestClock::tokio();
    let backend = FaultyBackend::wrapping(MemoryBackend::with_clock(100, &clock));
    let builder = Cache::builder()
        .backend(backend.clone())
        .clock(&clock)
        .namespace("labelled")
        .jitter(0.0);
    let cache = builder.build().await.expect("the options are good");
    (cache, backend, clock)
}

/// A load that finds out which tag its value has.
async fn tagged(origin: Arc<Origin>) -> Result<u32, Down> {
    let loaded = origin.load().await;
    CacheContext::current()
        .expect("within a load")
        .tag("of the value");
    loaded
}

async fn call(cache: &Cache, origin: &Arc<Origin>, detached: bool) -> Result<u32, Down> {
    call_with(cache, origin, detached, policy()).await
}

async fn call_with(
    cache: &Cache,
    origin: &Arc<Origin>,
    detached: bool,
    policy: Policy,
) -> Result<u32, Down> {
    let load = || tagged(Arc::clone(origin));
    if detached {
        cache.try_get_or_load_detached(&key(), policy, load).await
    } else {
        cache.try_get_or_load(&key(), policy, load).await
    }
}

async fn kept(cache: &Cache, clock: &TestClock) {
    let load = |first: bool| {
        let load = move || async move {
            let context = CacheContext::current().expect("within a load");
            if first {
                context.tag("of the value");
                return 1_u32;
            }
            context.not_modified().expect("there is a value")
        };
        let key = key();
        async move { cache.get_or_load(&key, policy(), load).await }
    };
    assert_eq!(load(true).await, 1);
    settle().await;
    for _ in 0..2 {
        clock.advance(MINUTE);
        assert_eq!(load(false).await, 1);
        settle().await;
        assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1), "kept");
    }
    let _ = cache.invalidate_tag("of the value").await.unwrap();
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_modified_keeps_its_tags() {
    let (cache, clock) = clocked().await;
    kept(&cache, &clock).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_modified_keeps_its_tags_in_a_backend() {
    let (cache, _, clock) = shared().await;
    kept(&cache, &clock).await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_not_fallen_back_on_after_its_own_tag_was_invalidated() {
    for detached in [false, true] {
        for away in [false, true] {
            let (cache, backend, clock) = shared().await;
            let origin = Origin::new();
            assert_eq!(call(&cache, &origin, detached).await, Ok(1));
            settle().await;
            clock.advance(MINUTE);
            origin.hang();
            origin.break_down();
            let calling = tokio::spawn({
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                async move { call(&cache, &origin, detached).await }
            });
            settle().await;
            assert_eq!(origin.loads(), 2);
            if away {
                backend.inject(Fault::Fail(ErrorKind::Unavailable));
            }
            let _ = cache.invalidate_tag("of the value").await.unwrap();
            origin.go_on();
            let case = format!("detached {detached}, away {away}");
            assert_eq!(calling.await.unwrap(), Err(Down), "{case}");
            // Nor by whoever comes next.
            assert_eq!(call(&cache, &origin, detached).await, Err(Down), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_does_not_answer_for_a_slow_load_after_its_own_tag_was_invalidated() {
    let (cache, backend, clock) = shared().await;
    let origin = Origin::new();
    assert_eq!(call(&cache, &origin, true).await, Ok(1));
    settle().await;
    clock.advance(MINUTE);
    origin.hang();
    let calling = tokio::spawn({
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        let policy = policy().soft_timeout(SECOND);
        async move { call_with(&cache, &origin, true, policy).await }
    });
    settle().await;
    backend.inject(Fault::Fail(ErrorKind::Unavailable));
    let _ = cache.invalidate_tag("of the value").await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert!(!calling.is_finished());
    origin.go_on();
    assert_eq!(calling.await.unwrap(), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_fallen_back_on_in_an_outage_keeps_its_tags() {
    let (cache, backend, clock) = shared().await;
    let origin = Origin::new();
    assert_eq!(call(&cache, &origin, true).await, Ok(1));
    settle().await;
    clock.advance(MINUTE);
    origin.hang();
    origin.break_down();
    let calling = tokio::spawn({
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        async move { call(&cache, &origin, true).await }
    });
    settle().await;
    backend.inject(Fault::Fail(ErrorKind::Unavailable));
    // It is lost.
    let _ = cache
        .remove(&dexter_cache::Key::new("other"))
        .await
        .unwrap();
    origin.go_on();
    assert_eq!(calling.await.unwrap(), Ok(1), "nothing was invalidated");
    assert_eq!(call(&cache, &origin, true).await, Ok(1), "from memory");
    let _ = cache.invalidate_tag("of the value").await.unwrap();
    assert_eq!(call(&cache, &origin, true).await, Err(Down));
}
