//! The engine against S3-FIFO as one would write it down: lists of names, searched from end to end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::ghost::Ghosts;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u32),
    Get(u8),
    Remove(u8),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<u8>(), 1..4_u32).prop_map(|(key, weight)| Step::Insert(key, weight)),
        8 => any::<u8>().prop_map(Step::Get),
        2 => any::<u8>().prop_map(Step::Remove),
    ];
    let step = prop_oneof![200 => step, 1 => Just(Step::Clear)];
    prop::collection::vec(step, 0..500)
}

#[derive(Debug, Clone)]
struct Entry {
    key: u8,
    weight: u64,
    value: u32,
    uses: u8,
}

#[derive(Default)]
struct Model {
    max: u64,
    small: VecDeque<Entry>,
    main: VecDeque<Entry>,
    ghosts: Ghosts,
}

impl Model {
    fn find(&mut self, key: u8) -> Option<&mut Entry> {
        let all = self.small.iter_mut().chain(&mut self.main);
        all.into_iter().find(|entry| entry.key == key)
    }

    fn weight(&self) -> u64 {
        self.small
            .iter()
            .chain(&self.main)
            .map(|entry| entry.weight)
            .sum()
    }

    fn get(&mut self, key: u8) -> Option<u32> {
        let entry = self.find(key)?;
        entry.uses = 3.min(entry.uses + 1);
        Some(entry.value)
    }

    fn remove(&mut self, key: u8) -> bool {
        let before = self.small.len() + self.main.len();
        self.small.retain(|entry| entry.key != key);
        self.main.retain(|entry| entry.key != key);
        before != self.small.len() + self.main.len()
    }

    fn insert(&mut self, key: u8, weight: u64, value: u32) {
        let (max, all) = (self.max, self.weight());
        if let Some(entry) = self.find(key) {
            if all - entry.weight + weight <= max {
                entry.uses = 3.min(entry.uses + 1);
                (entry.weight, entry.value) = (weight, value);
                return;
            }
            self.remove(key);
        }
        let mut passed_over = 0;
        while self.weight() + weight > self.max {
            self.evict(&mut passed_over);
        }
        self.move_along();
        let entry = Entry {
            key,
            weight,
            value,
            uses: 0,
        };
        if self.ghosts.recall(hash(key)) {
            self.main.push_back(entry);
        } else {
            self.small.push_back(entry);
        }
    }

    fn small_weight(&self) -> u64 {
        self.small.iter().map(|entry| entry.weight).sum()
    }

    fn evict(&mut self, passed_over: &mut usize) {
        if self.small_weight() >= (self.max / 30).max(1) || self.main.is_empty() {
            let mut entry = self.small.pop_front().expect("something to evict");
            if entry.uses > 0 && *passed_over < 64 {
                *passed_over += 1;
                entry.uses = 0;
                self.main.push_back(entry);
            } else {
                let left = self.small.len() + self.main.len();
                self.ghosts.remember(hash(entry.key), left);
            }
            return;
        }
        let mut entry = self.main.pop_front().expect("something to evict");
        if entry.uses > 0 && *passed_over < 64 {
            *passed_over += 1;
            entry.uses -= 1;
            self.main.push_back(entry);
        }
    }

    fn move_along(&mut self) {
        for _ in 0..4 {
            let used = self.small.front().is_some_and(|entry| entry.uses > 0);
            if !used || self.small_weight() <= (self.max / 30).max(1) {
                return;
            }
            let mut entry = self.small.pop_front().expect("it is there");
            entry.uses = 0;
            self.main.push_back(entry);
        }
    }
}

fn name(key: u8) -> String {
    format!("key {key}")
}

fn hash(key: u8) -> u64 {
    super::key(&name(key)).hash
}

fn run(max: u64, steps: &[Step]) {
    let engine = Engine::new(1, max);
    let mut model = Model {
        max,
        ..Model::default()
    };
    for (at, step) in steps.iter().enumerate() {
        let at = u32::try_from(at).expect("few steps");
        match *step {
            Step::Insert(key, weight) => {
                let weight = u64::from(weight).min(max);
                let small = u32::try_from(weight).expect("small");
                engine.insert(node(&name(key), small, at));
                model.insert(key, weight, at);
            }
            Step::Get(key) => {
                let found = engine.get(&super::key(&name(key)));
                assert_eq!(found.as_ref().map(value), model.get(key), "step {at}");
            }
            Step::Remove(key) => {
                let removed = engine.remove_if(&super::key(&name(key)), |_| true);
                assert_eq!(removed.is_some(), model.remove(key), "step {at}");
            }
            Step::Clear => {
                engine.clear();
                model = Model {
                    max,
                    ..Model::default()
                };
            }
        }
        assert_eq!(engine.weight(), model.weight(), "step {at}");
        assert!(engine.weight() <= max);
    }
    let mut expected: Vec<_> = model
        .small
        .iter()
        .chain(&model.main)
        .map(|entry| name(entry.key))
        .collect();
    expected.sort();
    assert_eq!(all(&engine), expected);
}

proptest! {
    #[test]
    fn it_is_s3_fifo(max in prop_oneof![1..10_u64, 10..200_u64], steps in steps()) {
        run(max, &steps);
    }
}
