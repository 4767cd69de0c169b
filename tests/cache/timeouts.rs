//! Loads that take too long: the caller goes on, and so does the load. Time is tokio's, and stands still.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::{Cache, Error, ErrorKind, Policy, cached};

use crate::origin::{Down, MINUTE, Origin, key, paused, policy, settle};

const SOFT: Duration = Duration::from_millis(100);
const HARD: Duration = Duration::from_millis(500);

fn limited() -> Policy {
    policy().soft_timeout(SOFT).hard_timeout(HARD)
}

/// As the origin has it, with this library's own errors beside.
async fn call(cache: &Cache, origin: &Arc<Origin>) -> Result<u32, Error> {
    let origin = Arc::clone(origin);
    let load = || async {
        let loaded = origin.load().await;
        loaded.map_err(|Down| Error::new(ErrorKind::Backend, "down"))
    };
    cache
        .try_get_or_load_detached(&key(), limited(), load)
        .await
}

fn is_late(result: &Result<u32, Error>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::LoadTimeout && error.is_timeout())
}

#[tokio::test(start_paused = true)]
async fn after_the_soft_timeout_the_stale_value_answers_and_the_load_goes_on() {
    let (cache, origin) = (paused().await, Origin::new());
    assert_eq!(call(&cache, &origin).await.unwrap(), 1);
    tokio::time::advance(MINUTE).await;
    origin.hang();
    let begun = tokio::time::Instant::now();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            tokio::spawn(async move { call(&cache, &origin).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert!(begun.elapsed() < HARD);
    assert_eq!(
        origin.loads(),
        2,
        "followers wait no longer, and load nothing"
    );
    assert_eq!(cache.stats().total.stale, 5);
    assert_eq!(
        call(&cache, &origin).await.unwrap(),
        1,
        "it is still the only load"
    );
    assert_eq!(origin.loads(), 2);
    origin.go_on();
    settle().await;
    assert_eq!(call(&cache, &origin).await.unwrap(), 2, "and it is stored");
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_without_a_stale_value_does_nothing_and_the_hard_one_ends_the_wait() {
    let (cache, origin) = (paused().await, Origin::new());
    origin.hang();
    let begun = tokio::time::Instant::now();
    let (one, two) = tokio::join!(call(&cache, &origin), call(&cache, &origin));
    assert!(is_late(&one) && is_late(&two));
    assert!(begun.elapsed() >= HARD);
    assert_eq!(origin.loads(), 1);
    origin.go_on();
    settle().await;
    assert_eq!(call(&cache, &origin).await.unwrap(), 1, "it went on");
    assert_eq!(origin.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn scar_1_a_load_that_goes_on_is_not_stored_after_a_removal_nor_answered_for() {
    let (cache, origin) = (paused().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    tokio::time::advance(MINUTE).await;
    origin.hang();
    let calling = tokio::spawn({
        let (cache, origin) = (cache.clone(), Arc::clone(&origin));
        async move { call(&cache, &origin).await }
    });
    settle().await;
    cache.remove(&key()).await.unwrap();
    assert!(is_late(&calling.await.unwrap()), "the stale value is gone");
    origin.go_on();
    settle().await;
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
    assert_eq!(cache.stats().total.fenced, 1);
    assert_eq!(call(&cache, &origin).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_behind_a_soft_timeout_puts_the_next_one_off() {
    let (cache, origin) = (paused().await, Origin::new());
    call(&cache, &origin).await.unwrap();
    tokio::time::advance(MINUTE).await;
    origin.hang();
    assert_eq!(call(&cache, &origin).await.unwrap(), 1);
    origin.break_down();
    origin.go_on();
    settle().await;
    assert_eq!(call(&cache, &origin).await.unwrap(), 1);
    assert_eq!(origin.loads(), 2);
}

#[cached(ttl = "1m", hard_timeout = "200ms", prefix = "timeouts_macro")]
async fn annotated(wait: u64) -> Result<u64, Error> {
    tokio::time::sleep(Duration::from_millis(wait)).await;
    Ok(wait)
}

#[tokio::test(start_paused = true)]
async fn an_annotated_function_returns_the_error_in_its_own_type() {
    paused()
        .await
        .scope(async {
            assert_eq!(annotated(100).await.unwrap(), 100);
            let late = annotated(1_000).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::LoadTimeout);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                annotated::peek(1_000).await.unwrap().unwrap().unwrap(),
                1_000
            );
        })
        .await;
}
