use std::time::Duration;

use super::*;
use crate::backend::memory::MemoryBackend;
use crate::backend::{CacheBackend, SetOutcome, When};
use crate::pattern::KeyPattern;

#[test]
fn a_value_is_typed_and_shared_not_copied() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    let value: Arc<dyn Any + Send + Sync> = Arc::new(String::from("hello"));
    store.insert(&key("a"), Held::new(value.clone(), hand.in_secs(1)), None);

    let held = store.get(&key("a")).expect("just stored");
    assert!(Arc::ptr_eq(&held.value, &value));
    assert!(held.value.downcast_ref::<u32>().is_none());
    assert_eq!(held.fresh_until, hand.in_secs(1));
}

#[test]
fn gone_at_the_deadline_and_not_a_nanosecond_before() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    store.insert(&key("a"), Held::new(number(1), hand.in_secs(1)), None);

    hand.pass(Duration::from_nanos(999_999_999));
    assert_eq!(read(&store, "a"), Some(1));
    hand.pass(Duration::from_nanos(1));
    assert_eq!(read(&store, "a"), None);
}

#[test]
fn a_deadline_of_centuries_is_never_reached() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    hand.pass(Duration::from_secs(1));
    let never = after(hand.now(), Duration::MAX);
    store.insert(&key("a"), Held::new(number(1), never), None);
    hand.pass(Duration::from_secs(300 * 365 * 86_400));
    assert_eq!(read(&store, "a"), Some(1));
}

#[test]
fn reading_an_expired_entry_gives_it_back_once() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    store.insert(&key("a"), Held::new(number(1), hand.in_secs(1)), None);
    hand.pass(Duration::from_secs(1));

    assert_eq!(store.len(), 1);
    assert_eq!(read(&store, "a"), None);
    assert_eq!((store.len(), store.expirations()), (0, 1));
    assert_eq!(read(&store, "a"), None);
    assert_eq!(store.expirations(), 1);
}

#[test]
fn an_insertion_replaces_value_and_deadline_and_is_no_eviction() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    store.insert(&key("a"), Held::new(number(1), hand.in_secs(1)), None);
    store.insert(&key("a"), Held::new(number(2), hand.in_secs(3)), None);
    hand.pass(Duration::from_secs(2));

    assert_eq!(read(&store, "a"), Some(2));
    assert_eq!((store.len(), store.evictions()), (1, 0));
}

#[test]
fn remove_tells_whether_something_fresh_was_there() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    store.insert(&key("a"), Held::new(number(1), hand.in_secs(1)), None);
    assert!(store.remove(&key("a")));
    assert!(!store.remove(&key("a")));

    store.insert(&key("b"), Held::new(number(1), hand.in_secs(1)), None);
    hand.pass(Duration::from_secs(1));
    assert!(!store.remove(&key("b")));
    assert!(store.is_empty());
}

#[tokio::test]
async fn a_pattern_removes_what_matches_and_counts_what_was_fresh() {
    let hand = Hand::default();
    let store = entries(100_000, &hand);
    for i in 0..5_000 {
        let secs = if i % 5 == 0 { 1 } else { 100 };
        store.insert(
            &key(format!("a:{i}")),
            Held::new(number(i), hand.in_secs(secs)),
            None,
        );
        store.insert(
            &key(format!("b:{i}")),
            Held::new(number(i), hand.in_secs(100)),
            None,
        );
    }
    hand.pass(Duration::from_secs(1));

    let no_nines = |key: &[u8]| key.last() != Some(&b'9');
    let pattern = KeyPattern::new("a:*");
    assert_eq!(
        store.remove_matching(&pattern, Some(&no_nines)).await,
        3_500
    );
    assert_eq!(read(&store, "a:9"), Some(9));
    assert_eq!(store.remove_matching(&pattern, None).await, 500);
    assert_eq!(store.len(), 5_000);
}

#[tokio::test]
async fn a_walk_lets_other_tasks_run() {
    let hand = Hand::default();
    let store = entries(100_000, &hand);
    for i in 0..10_000 {
        store.insert(
            &key(format!("{i}")),
            Held::new(number(i), hand.in_secs(9)),
            None,
        );
    }
    let turns = Arc::new(AtomicU64::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    store.remove_matching(&KeyPattern::new("*"), None).await;
    other.abort();
    assert!(turns.load(Ordering::Relaxed) >= 10_000 / 256);
}

#[test]
fn clear_leaves_nothing() {
    let hand = Hand::default();
    let store = entries(10_000, &hand);
    for i in 0..1_000 {
        store.insert(
            &key(format!("{i}")),
            Held::new(number(i), hand.in_secs(9)),
            None,
        );
    }
    store.clear();
    assert_eq!((store.len(), store.weight()), (0, 0));
    assert_eq!(read(&store, "7"), None);
    store.insert(&key("7"), Held::new(number(8), hand.in_secs(9)), None);
    assert_eq!(read(&store, "7"), Some(8));
}

#[test]
fn keys_of_one_hash_are_different_keys() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    let (one, two) = (
        KeyRef {
            hash: 7,
            text: b"1",
        },
        KeyRef {
            hash: 7,
            text: b"2",
        },
    );
    store.insert(one, Held::new(number(1), hand.in_secs(1)), None);
    store.insert(two, Held::new(number(2), hand.in_secs(1)), None);
    assert!(store.remove(one));
    assert!(store.get(one).is_none());
    assert!(store.get(two).is_some());
}

#[test]
fn a_value_may_use_the_store_as_it_is_dropped() {
    struct Nosy(Arc<MemoryStore>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.get(&key("a"));
            self.0.remove(&key("a"));
        }
    }
    let hand = Hand::default();
    let store = entries(4, &hand);
    for i in 0..20 {
        let nosy = Arc::new(Nosy(store.clone()));
        store.insert(
            &key(format!("{}", i % 7)),
            Held::new(nosy.clone(), hand.in_secs(9)),
            None,
        );
        store.insert(&key("a"), Held::new(nosy, hand.in_secs(9)), None);
    }
    store.remove(&key("3"));
    store.clear();
    assert!(store.is_empty());
}

/// Deadlines are set by the exact clock and read by the coarse one: an entry never ends early, and it ends as soon as the
/// coarse clock has passed its deadline, which the kernel sees to at its next tick.
#[test]
fn the_coarse_clock_never_leads_and_catches_up() {
    let clock = Clock::System;
    for _ in 0..10_000 {
        let coarse = clock.coarse();
        assert!(coarse <= clock.now());
    }
    for _ in 0..10 {
        let now = clock.now();
        while clock.coarse() < now {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_backend_ends_a_value_at_its_ttl_by_the_clock_and_not_a_nanosecond_before() {
    let hand = Hand::default();
    let backend = MemoryBackend::with(&MemoryLimits::Entries(1_000), hand.clock());
    let nanosecond = Duration::from_nanos(1);
    for micros in (0..100).map(|i| 900 + i * 37) {
        let ttl = Duration::from_micros(micros);
        let counted = ttl.max(Duration::from_millis(1));
        let value = bytes::Bytes::from_static(b"value");
        let set = backend.set("a", value, ttl, When::Always).await;
        assert_eq!(set.expect("memory never fails"), SetOutcome::Stored);
        hand.pass(counted.saturating_sub(nanosecond));
        assert!(
            backend
                .get("a")
                .await
                .expect("memory never fails")
                .is_some()
        );
        hand.pass(nanosecond);
        assert_eq!(backend.get("a").await.expect("memory never fails"), None);
    }
}
