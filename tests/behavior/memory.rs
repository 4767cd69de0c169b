use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dexter_cache::backend::{CacheBackend, MemoryBackend, When};
use dexter_cache::test_util::{TestClock, backend_behavior};

type Backend = Arc<dyn CacheBackend>;

const LONG: Duration = Duration::from_secs(600);

fn fresh() -> Ready<(Backend, ())> {
    ready((Arc::new(MemoryBackend::new(100_000)), ()))
}

backend_behavior!(fresh);

mod bounded_by_bytes {
    use super::{Arc, Backend, MemoryBackend, Ready, backend_behavior, ready};

    fn fresh() -> Ready<(Backend, ())> {
        ready((Arc::new(MemoryBackend::with_max_bytes(64 << 20)), ()))
    }

    backend_behavior!(fresh);
}

#[test]
fn it_is_for_this_process_only() {
    let can = MemoryBackend::new(1).capabilities();
    assert!(can.compare_and_set && can.remove_matching && !can.shared);
}

#[tokio::test]
async fn never_early_and_at_most_10_ms_late() {
    let (backend, ()) = fresh().await;
    for micros in (0..100).map(|i| 900 + i * 37) {
        let ttl = Duration::from_micros(micros);
        let counted = ttl.max(Duration::from_millis(1));
        let key = micros.to_string();
        let before = Instant::now();
        set_for(&backend, &key, "value", ttl).await;
        let after = Instant::now();
        loop {
            let asked = Instant::now();
            if get(&backend, &key).await.is_none() {
                assert!(before.elapsed() >= counted, "early: {:?}", before.elapsed());
                break;
            }
            let late = (asked - after).saturating_sub(counted);
            assert!(late <= Duration::from_millis(10), "{late:?} late");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_capacity_is_a_bound() {
    let backend: Backend = Arc::new(MemoryBackend::new(100));
    for i in 0..1_000 {
        set(&backend, &i.to_string(), "value").await;
    }
    let mut found = 0;
    for i in 0..1_000 {
        found += usize::from(get(&backend, &i.to_string()).await.is_some());
    }
    assert_eq!(found, 100);
}

#[tokio::test]
async fn bytes_are_a_bound_too() {
    let backend: Backend = Arc::new(MemoryBackend::with_max_bytes(100_000));
    for i in 0..100 {
        set(&backend, &i.to_string(), vec![0; 10_000]).await;
    }
    let mut found = 0;
    for i in 0..100 {
        found += usize::from(get(&backend, &i.to_string()).await.is_some());
    }
    assert!((8..=9).contains(&found), "{found}");
    // Too large for all of it: not stored, and what was there is out of date.
    set_for(&backend, "99", vec![0; 200_000], LONG).await;
    assert_eq!(get(&backend, "99").await, None);
}

#[tokio::test]
async fn clones_share_what_they_hold() {
    let one = MemoryBackend::new(100);
    let two: Backend = Arc::new(one.clone());
    set(&(Arc::new(one) as Backend), "a", "value").await;
    assert!(get(&two, "a").await.is_some());
}

#[tokio::test]
async fn entries_expire_by_a_clock_that_a_test_sets() {
    let clock = TestClock::new();
    let backend: Backend = Arc::new(MemoryBackend::with_clock(100, &clock));
    set_for(&backend, "a", "value", LONG).await;
    let before = backend.ping().await.expect("ping").clock_ms;
    clock.advance(LONG - Duration::from_nanos(1));
    assert!(get(&backend, "a").await.is_some());
    clock.advance(Duration::from_nanos(1));
    assert_eq!(get(&backend, "a").await, None);
    let after = backend.ping().await.expect("ping").clock_ms;
    assert_eq!(after, before.map(|before| before + 600_000));
}

async fn get(backend: &Backend, key: &str) -> Option<Bytes> {
    backend.get(key).await.expect("get")
}

async fn set(backend: &Backend, key: &str, value: impl Into<Bytes>) {
    set_for(backend, key, value, LONG).await;
}

async fn set_for(backend: &Backend, key: &str, value: impl Into<Bytes>, ttl: Duration) {
    let outcome = backend.set(key, value.into(), ttl, When::Always).await;
    outcome.expect("set");
}
