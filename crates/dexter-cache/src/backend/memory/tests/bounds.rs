use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::pattern::KeyPattern;

#[test]
fn the_bound_holds_under_ten_times_as_many_insertions_from_four_threads() {
    for capacity in [1, 2, 3, 100, 101, 1_000, 9_999, 20_000] {
        let hand = Hand::default();
        let store = entries(capacity, &hand);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|thread| {
                    let store = &store;
                    let deadline = hand.in_secs(9);
                    scope.spawn(move || {
                        for i in 0..capacity * 10 / 4 {
                            store.insert(
                                &key(format!("{thread}:{i}")),
                                Held::new(number(1), deadline),
                                None,
                            );
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(store.len() <= capacity);
                    thread::yield_now();
                }
            });
            for writer in writers {
                writer.join().expect("a writer");
            }
            done.store(true, Ordering::Relaxed);
        });
        let len = store.len();
        assert!(len <= capacity, "{len} of {capacity}");
        // Each shard is bounded for itself, but all are full now.
        assert!(len + len / 50 + 8 >= capacity, "{len} of {capacity}");
        let inserted = capacity * 10 / 4 * 4;
        assert_eq!(store.evictions(), (inserted - len) as u64);
    }
}

#[test]
fn as_many_entries_as_the_capacity_find_room() {
    for capacity in [1, 10, 100, 1_000] {
        let hand = Hand::default();
        let store = entries(capacity, &hand);
        for i in 0..capacity {
            store.insert(
                &key(format!("{i}")),
                Held::new(number(1), hand.in_secs(9)),
                None,
            );
        }
        assert_eq!(store.len(), capacity);
    }
}

#[test]
fn without_capacity_nothing_is_stored() {
    let hand = Hand::default();
    let store = entries(0, &hand);
    assert!(!store.insert(&key("a"), Held::new(number(1), hand.in_secs(9)), None));
    assert_eq!((read(&store, "a"), store.len()), (None, 0));
}

#[test]
fn a_huge_capacity_costs_nothing_before_it_is_used() {
    let hand = Hand::default();
    for store in [entries(usize::MAX, &hand), weighing(u64::MAX, &hand)] {
        assert!(store.insert(
            &key("a"),
            Held::new(number(u32::MAX), hand.in_secs(9)),
            None
        ));
        assert_eq!(read(&store, "a"), Some(u32::MAX));
    }
}

#[test]
fn weights_are_summed_and_bounded() {
    let hand = Hand::default();
    let store = weighing(1_000, &hand);
    for i in 0..1_000 {
        store.insert(
            &key(format!("{i}")),
            Held::new(number(i % 50), hand.in_secs(9)),
            None,
        );
        assert!(store.weight() <= 1_000);
    }
    assert!(store.weight() > 900);
    // What claims to weigh nothing weighs one: else it could never be pushed out.
    let store = weighing(10, &hand);
    for i in 0..100 {
        store.insert(
            &key(format!("{i}")),
            Held::new(number(0), hand.in_secs(9)),
            None,
        );
    }
    assert_eq!((store.len(), store.weight()), (10, 10));
}

#[test]
fn a_weight_of_megabytes_is_bounded_over_all_shards() {
    let hand = Hand::default();
    let max = 100 << 20;
    let store = weighing(max, &hand);
    for i in 0..1_000 {
        assert!(store.insert(
            &key(format!("{i}")),
            Held::new(number(1 << 20), hand.in_secs(9)),
            None
        ));
        assert!(store.weight() <= max);
    }
    assert!(store.weight() > 90 << 20);
}

#[test]
fn what_is_too_heavy_is_not_stored_and_pushes_nothing_out() {
    let hand = Hand::default();
    let store = weighing(1_000, &hand);
    for i in 0..10 {
        store.insert(
            &key(format!("{i}")),
            Held::new(number(90), hand.in_secs(9)),
            None,
        );
    }
    assert!(!store.insert(&key("big"), Held::new(number(1_001), hand.in_secs(9)), None));
    assert_eq!(
        (store.len(), store.evictions(), store.refusals()),
        (10, 0, 1)
    );
    assert_eq!(read(&store, "big"), None);

    // The value that it should have replaced is out of date.
    assert!(!store.insert(&key("3"), Held::new(number(1_001), hand.in_secs(9)), None));
    assert_eq!(read(&store, "3"), None);
    assert_eq!((store.len(), store.evictions()), (9, 0));
}

#[test]
fn the_heaviest_that_is_admitted_is_what_the_engine_admits() {
    let hand = Hand::default();
    for max in [1, 2, 10, 33, 100, 1_000, 12_345] {
        let heaviest = (1..=max)
            .rev()
            .find(|&weight| {
                let weight = u32::try_from(weight).expect("small");
                weighing(max, &hand).insert(
                    &key("a"),
                    Held::new(number(weight), hand.in_secs(9)),
                    None,
                )
            })
            .expect("something fits");
        let store = weighing(max, &hand);
        store.insert(
            &key("a"),
            Held::new(
                number(u32::try_from(heaviest).expect("small")),
                hand.in_secs(9),
            ),
            None,
        );
        assert_eq!((store.weight(), store.len()), (heaviest, 1), "of {max}");
        assert_eq!(heaviest, max);
    }
}

#[test]
fn an_entry_takes_at_most_40_bytes_more_than_in_quick_cache() {
    const COUNT: u32 = 100_000;
    let hand = Hand::default();
    let ours = entries(COUNT as usize, &hand);
    let bare = quick_cache::sync::Cache::<String, Arc<u32>>::new(COUNT as usize);
    // Twice the capacity, so that the ghosts are there too.
    for i in 0..2 * COUNT {
        let text = format!("get_issue:path=/api/v1/issues/{i}&query=");
        ours.insert(&key(&text), Held::new(number(i), hand.in_secs(9)), None);
        bare.insert(text, Arc::new(i));
    }
    let ours = ours.entries.memory_used() / ours.len();
    let bare = bare.memory_used().total() / bare.len();
    eprintln!("{ours} against {bare}");
    assert!(ours <= bare + 40, "{ours} bytes against {bare}");
}

#[test]
fn threads_insert_read_and_remove_by_key_and_pattern_at_once() {
    let hand = Hand::default();
    let store = entries(500, &hand);
    thread::scope(|scope| {
        for thread in 0..2 {
            let (store, hand) = (&store, &hand);
            scope.spawn(move || {
                for i in 0..20_000 {
                    let text = format!("{}:{}", i % 3, i % 700);
                    match (i + thread) % 4 {
                        0 | 1 => {
                            let nanos = hand.now() + u64::from(i % 5);
                            store.insert(&key(text), Held::new(number(i), nanos), None);
                        }
                        2 => drop(store.get(&key(text))),
                        _ => drop(store.remove(&key(text))),
                    }
                    hand.pass(Duration::from_nanos(1));
                }
            });
        }
        let store = &store;
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime").block_on(async {
                for i in 0..200 {
                    let pattern = KeyPattern::new(format!("{}:*", i % 3));
                    store.remove_matching(&pattern, None).await;
                    store.sweep_expired(|| true).await;
                    if i % 20 == 0 {
                        store.clear();
                    }
                }
            });
        });
    });
    assert!(store.len() <= 500);
    store.clear();
    assert_eq!(store.weight(), 0);
}
