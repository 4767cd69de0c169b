use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dexter_cache::backend::{CacheBackend, MemoryBackend};

use crate::fixture::{Backend, LONG, Names, get, set, set_for};

fn fresh() -> Ready<(Backend, ())> {
    ready((Arc::new(MemoryBackend::new(100_000)), ()))
}

mount!(fresh);

mod bounded_by_bytes {
    use super::{Arc, Backend, MemoryBackend, Ready, ready};

    fn fresh() -> Ready<(Backend, ())> {
        ready((Arc::new(MemoryBackend::with_max_bytes(64 << 20)), ()))
    }

    mount!(fresh);
}

#[test]
fn it_is_for_this_process_only() {
    let can = MemoryBackend::new(1).capabilities();
    assert!(can.compare_and_set && can.remove_matching && !can.shared);
}

/// To the microsecond, unlike a server's. How late it may be is a question of the clock, and asked where that is set by
/// hand.
#[tokio::test]
async fn never_early() {
    let (backend, ()) = fresh().await;
    let names = Names::new();
    for micros in (0..100).map(|i| 900 + i * 37) {
        let ttl = Duration::from_micros(micros);
        let counted = ttl.max(Duration::from_millis(1));
        let key = names.key(micros.to_string());
        let before = Instant::now();
        set_for(&backend, &key, "value", ttl).await;
        while get(&backend, &key).await.is_some() {
            tokio::task::yield_now().await;
        }
        let after = before.elapsed();
        assert!(after >= counted, "{counted:?} ended after {after:?}");
    }
}

#[tokio::test]
async fn the_capacity_is_a_bound() {
    let backend: Backend = Arc::new(MemoryBackend::new(100));
    let names = Names::new();
    for i in 0..1_000 {
        set(&backend, &names.key(i.to_string()), "value").await;
    }
    let mut found = 0;
    for i in 0..1_000 {
        found += usize::from(get(&backend, &names.key(i.to_string())).await.is_some());
    }
    assert_eq!(found, 100);
}

#[tokio::test]
async fn bytes_are_a_bound_too() {
    let backend: Backend = Arc::new(MemoryBackend::with_max_bytes(100_000));
    let names = Names::new();
    for i in 0..100 {
        set(&backend, &names.key(i.to_string()), vec![0; 10_000]).await;
    }
    let mut found = 0;
    for i in 0..100 {
        found += usize::from(get(&backend, &names.key(i.to_string())).await.is_some());
    }
    assert!((8..=9).contains(&found), "{found}");
    // Too large for all of it: not stored, and what was there is out of date.
    set_for(&backend, &names.key("99"), vec![0; 200_000], LONG).await;
    assert_eq!(get(&backend, &names.key("99")).await, None);
}

#[tokio::test]
async fn clones_share_what_they_hold() {
    let one = MemoryBackend::new(100);
    let two: Backend = Arc::new(one.clone());
    set(&(Arc::new(one) as Backend), "a", "value").await;
    assert!(get(&two, "a").await.is_some());
}
