use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::*;

/// A runtime whose timers fire as soon as everything waits.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

fn fill(store: &MemoryStore, count: u32, until: Nanos) {
    for i in 0..count {
        store.insert(
            &key(format!("{until}:{i}")),
            Held::new(number(i), until),
            None,
        );
    }
}

#[test]
fn expired_keys_never_touched_again_are_reclaimed() {
    let hand = Hand::default();
    let store = entries(100_000, &hand);
    runtime().block_on(async {
        fill(&store, 3_000, hand.in_secs(10));
        fill(&store, 2_000, hand.in_secs(60));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(store.len(), 5_000);

        hand.pass(Duration::from_secs(10));
        sleep(Duration::from_secs(5)).await;
        assert_eq!((store.len(), store.expirations()), (2_000, 3_000));

        hand.pass(Duration::from_secs(50));
        sleep(Duration::from_secs(5)).await;
        assert_eq!((store.len(), store.expirations()), (0, 5_000));
    });
}

#[test]
fn values_are_dropped_when_they_are_reclaimed() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    runtime().block_on(async {
        let value = number(1);
        store.insert(&key("a"), Held::new(value.clone(), hand.in_secs(1)), None);
        hand.pass(Duration::from_secs(1));
        sleep(Duration::from_secs(3)).await;
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn the_task_ends_with_the_last_entry_and_begins_with_the_next() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    runtime().block_on(async {
        for _ in 0..3 {
            assert!(!store.sweeping.is_running());
            fill(&store, 10, hand.in_secs(1));
            assert!(store.sweeping.is_running());
            hand.pass(Duration::from_secs(1));
            sleep(Duration::from_secs(3)).await;
            assert_eq!(store.len(), 0);
        }
    });
}

#[test]
fn the_task_outlives_its_runtime_on_the_next() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    for round in 1..=3 {
        runtime().block_on(async {
            fill(&store, 10, hand.in_secs(round));
            assert!(store.sweeping.is_running());
        });
        assert!(!store.sweeping.is_running());
    }
    // Without a runtime nothing runs, and nothing breaks.
    fill(&store, 10, hand.in_secs(9));
    assert!(!store.sweeping.is_running());

    hand.pass(Duration::from_secs(5));
    runtime().block_on(async {
        fill(&store, 1, hand.in_secs(5));
        sleep(Duration::from_secs(3)).await;
        assert_eq!(store.len(), 11);
    });
}

#[test]
fn a_runtime_that_stands_still_is_replaced_by_one_that_runs() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    let idle = runtime();
    idle.block_on(async { fill(&store, 10, hand.in_secs(1)) });
    assert!(store.sweeping.is_running());
    hand.pass(Duration::from_secs(60));

    let live = runtime();
    live.block_on(async {
        fill(&store, 1, hand.in_secs(60));
        sleep(Duration::from_secs(3)).await;
        assert_eq!(store.len(), 1);
    });
    // The first one notices that it was replaced, and its end takes nothing from the other.
    idle.block_on(async { sleep(Duration::from_secs(3)).await });
    assert!(store.sweeping.is_running());
    drop(idle);
    assert!(store.sweeping.is_running());
    drop(live);
    assert!(!store.sweeping.is_running());
}

#[test]
fn a_runtime_without_timers_gets_one_task_only() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        fill(&store, 1, hand.in_secs(1));
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 0);
        fill(&store, 1, hand.in_secs(1));
        assert_eq!(metrics.num_alive_tasks(), 0);
    });
}

#[test]
fn the_task_does_not_keep_the_store_alive() {
    let hand = Hand::default();
    let store = entries(100, &hand);
    runtime().block_on(async {
        let value = number(1);
        store.insert(&key("a"), Held::new(value.clone(), Nanos::MAX), None);
        tokio::task::yield_now().await;
        drop(store);
        assert_eq!(Arc::strong_count(&value), 1);
        sleep(Duration::from_secs(3)).await;
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 0);
    });
}
