//! A `None` that is remembered, for a time of its own.

use std::sync::Arc;

use dexter_cache::{Cache, cached};

use crate::origin::{MINUTE, Origin, SECOND, clocked, settle};

#[derive(Clone)]
struct Handle(Arc<Origin>);

#[cached(ttl = "1m", none_ttl = "10s", prefix = "none_option", skip(origin))]
async fn find(id: u32, origin: Handle) -> Option<u32> {
    let load = origin.0.load().await.ok()?;
    (load >= id).then_some(load)
}

#[cached(ttl = "1m", none_ttl = 10, prefix = "none_result", skip(origin))]
async fn find_or_fail(id: u32, origin: Handle) -> Result<Option<u32>, String> {
    let load = origin.0.load().await.map_err(|_| "down".to_owned())?;
    Ok((load >= id).then_some(load))
}

async fn fixture() -> (Cache, dexter_cache::test_util::TestClock, Handle) {
    let (cache, clock) = clocked().await;
    (cache, clock, Handle(Origin::new()))
}

#[tokio::test]
async fn a_none_is_remembered_for_its_own_ttl_and_told_from_a_miss() {
    let (cache, clock, origin) = fixture().await;
    let calls = async {
        assert_eq!(find::peek(2).await.unwrap(), None, "a miss");
        assert_eq!(find(2, origin.clone()).await, None);
        assert_eq!(find::peek(2).await.unwrap(), Some(None), "a `None`");
        assert_eq!(cache.get::<u32>(&find::key(2)).await.unwrap(), None);
        clock.advance(SECOND * 9);
        assert_eq!(find(2, origin.clone()).await, None);
        assert_eq!(origin.0.loads(), 1);
        clock.advance(SECOND);
        assert_eq!(find::peek(2).await.unwrap(), None);
        assert_eq!(find(2, origin.clone()).await, Some(2));
        clock.advance(MINUTE - SECOND);
        assert_eq!(
            find(2, origin.clone()).await,
            Some(2),
            "a value has its own"
        );
        assert_eq!(cache.get::<u32>(&find::key(2)).await.unwrap(), Some(2));
    };
    cache.scope(calls).await;
    let stats = cache.stats().prefix("none_option");
    assert_eq!((stats.loads, stats.failed_loads, stats.stored), (2, 0, 2));
    assert_eq!(stats.hits, 3, "and one by hand");
}

#[tokio::test]
async fn an_error_is_not_remembered_with_it() {
    let (cache, _, origin) = fixture().await;
    let calls = async {
        origin.0.break_down();
        assert!(find_or_fail(2, origin.clone()).await.is_err());
        origin.0.repair();
        assert_eq!(find_or_fail(3, origin.clone()).await, Ok(None));
        assert_eq!(find_or_fail(3, origin.clone()).await, Ok(None));
        assert_eq!(origin.0.loads(), 2);
        find_or_fail::remove(3).await.unwrap();
        assert_eq!(find_or_fail(3, origin.clone()).await, Ok(Some(3)));
    };
    cache.scope(calls).await;
}

#[tokio::test]
async fn all_who_wait_share_it() {
    let (cache, _, origin) = fixture().await;
    origin.0.hang();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (cache, origin) = (cache.clone(), origin.clone());
            tokio::spawn(async move { cache.scope(find(9, origin)).await })
        })
        .collect();
    settle().await;
    origin.0.go_on();
    for call in calls {
        assert_eq!(call.await.unwrap(), None);
    }
    assert_eq!(origin.0.loads(), 1);
}
