//! The engine alone: against a model that is written to be read, and under threads.

mod model;
mod threads;

use std::sync::Arc;

use super::{Engine, Node, Out, Walk};
use crate::backend::memory::entry::{Held, KeyRef};
use crate::clock::Nanos;

fn key(text: &str) -> KeyRef<'_> {
    // Spread as a hash is, and always alike.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
    });
    KeyRef {
        hash,
        text: text.as_bytes(),
    }
}

fn node(text: &str, weight: u32, value: u32) -> Node {
    Node::new(key(text), weight, Held::new(Arc::new(value), Nanos::MAX))
}

fn value(held: &Held) -> u32 {
    *held.value.downcast_ref().expect("the tests store numbers")
}

fn all(engine: &Engine) -> Vec<String> {
    let (mut walk, mut nodes) = (Walk::default(), Vec::new());
    let mut found = Vec::new();
    loop {
        let more = engine.walk(&mut walk, 7, &mut nodes);
        assert!(nodes.len() <= 7);
        found.extend(
            nodes
                .drain(..)
                .map(|node| String::from_utf8_lossy(node.text()).into_owned()),
        );
        if !more {
            found.sort();
            return found;
        }
    }
}

#[test]
fn an_entry_that_was_asked_for_outlives_a_scan() {
    let engine = Engine::new(1, 100);
    for round in 0..3 {
        engine.insert(node("hot", 1, round));
        engine.get(&key("hot"));
    }
    for scanned in 0..10_000 {
        engine.insert(node(&format!("{scanned}"), 1, 0));
        if scanned % 50 == 0 {
            assert!(engine.get(&key("hot")).is_some(), "after {scanned}");
        }
    }
}

#[test]
fn what_comes_back_soon_stays() {
    let engine = Engine::new(1, 100);
    (0..100).for_each(|n| drop(engine.insert(node(&format!("first {n}"), 1, 0))));
    (0..6).for_each(|n| drop(engine.insert(node(&format!("second {n}"), 1, 0))));
    assert!(engine.get(&key("first 0")).is_none());
    // It skips the small queue.
    engine.insert(node("first 0", 1, 0));
    (0..20).for_each(|n| drop(engine.insert(node(&format!("third {n}"), 1, 0))));
    assert!(engine.get(&key("first 0")).is_some());
}

#[test]
fn a_table_that_grows_under_a_walk_hides_nothing_that_was_there() {
    let engine = Engine::new(1, 100_000);
    (0..1_000).for_each(|n| drop(engine.insert(node(&format!("old {n}"), 1, 0))));
    let (mut walk, mut nodes) = (Walk::default(), Vec::new());
    let mut met = std::collections::HashSet::new();
    let mut inserted = 0;
    while engine.walk(&mut walk, 64, &mut nodes) {
        met.extend(nodes.drain(..).map(|node| node.text().to_vec()));
        for _ in 0..100 {
            if inserted < 20_000 {
                engine.insert(node(&format!("new {inserted}"), 1, 0));
                inserted += 1;
            }
        }
    }
    met.extend(nodes.drain(..).map(|node| node.text().to_vec()));
    for n in 0..1_000 {
        assert!(met.contains(format!("old {n}").as_bytes()), "old {n}");
    }
}

#[test]
fn a_queue_is_not_longer_than_what_is_in_it_warrants() {
    let engine = Engine::new(1, 1_000);
    for n in 0..100_000 {
        let text = format!("{n}");
        engine.insert(node(&text, 1, 0));
        if n % 3 != 0 {
            assert!(engine.remove_if(&key(&text), |_| true).is_some());
        }
    }
    let shard = engine.read(0);
    for queue in shard.queues() {
        let (places, entries) = (queue.places(), queue.entries());
        assert!(
            places <= 2 * entries + 64,
            "{places} places for {entries} entries"
        );
    }
    drop(shard);
    // Nothing is ever pushed out here: what is removed was never more than a few beside each other.
    let engine = Engine::new(1, u64::MAX);
    for n in 0..100_000 {
        engine.insert(node(&format!("{n}"), 1, 0));
        engine.remove_if(&key(&format!("{n}")), |_| true);
    }
    assert!(engine.read(0).queues()[0].places() <= 64);
}

#[test]
fn a_value_that_has_become_heavy_does_not_make_room_for_itself() {
    let engine = Engine::new(1, 100);
    engine.insert(node("a", 1, 0));
    (0..99).for_each(|n| drop(engine.insert(node(&format!("b{n}"), 1, 0))));
    engine.get(&key("a"));
    (0..99).for_each(|n| drop(engine.get(&key(&format!("b{n}")))));
    let out = engine.insert(node("a", 60, 1));
    assert_eq!(engine.get(&key("a")).as_ref().map(value), Some(1));
    assert!(engine.weight() <= 100);
    let gone: u32 = out.iter().map(Node::weight).sum();
    assert_eq!(u64::from(gone), 160 - engine.weight());
}

#[test]
fn entries_that_were_asked_for_do_not_wait_for_a_full_shard_to_move_on() {
    let engine = Engine::new(1, 10_000);
    for n in 0..10_000 {
        engine.insert(node(&format!("{n}"), 1, 0));
        engine.get(&key(&format!("{n}")));
    }
    let shard = engine.read(0);
    let [small, main] = shard.queues();
    assert!(
        small.entries() <= 510,
        "{} in the small queue",
        small.entries()
    );
    assert_eq!(small.entries() + main.entries(), 10_000);
}

#[test]
fn values_are_let_go_of_by_whoever_pushed_them_out() {
    let engine = Engine::new(1, 2);
    let counted: Arc<dyn std::any::Any + Send + Sync> = Arc::new(0_u32);
    let hold = |text: &str| Node::new(key(text), 1, Held::new(counted.clone(), Nanos::MAX));
    let out = [
        engine.insert(hold("a")),
        engine.insert(hold("b")),
        engine.insert(hold("c")),
    ];
    assert_eq!(out.iter().map(Out::len).sum::<usize>(), 1);
    assert_eq!(Arc::strong_count(&counted), 4);
    drop(out);
    assert_eq!(Arc::strong_count(&counted), 3);
    engine.clear();
    assert_eq!(Arc::strong_count(&counted), 1);
}
