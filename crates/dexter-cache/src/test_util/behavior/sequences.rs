//! Operations in any order, against a map that does the same. Nothing expires here.

use std::collections::HashMap;

use bytes::Bytes;
use fastrand::Rng;

use crate::backend::{SetOutcome, When};

use super::fixture::{Backend, LONG, Names, get, get_many, remove, remove_matching, set_when};

const SEQUENCES: u64 = 64;
const LONGEST: usize = 60;

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    GetMany(Vec<u8>),
    Set(u8, Bytes, Condition),
    Remove(Vec<u8>),
    RemoveGroup(u8),
}

#[derive(Debug, Clone)]
enum Condition {
    Always,
    Absent,
    Matches(Bytes),
}

fn step(rng: &mut Rng) -> Step {
    match rng.u8(..12) {
        0..=2 => Step::Get(key(rng)),
        3 => Step::GetMany(keys(rng)),
        4 => Step::Remove(keys(rng)),
        5 => Step::RemoveGroup(key(rng)),
        _ => {
            let condition = match rng.u8(..3) {
                0 => Condition::Always,
                1 => Condition::Absent,
                _ => Condition::Matches(value(rng)),
            };
            Step::Set(key(rng), value(rng), condition)
        }
    }
}

fn key(rng: &mut Rng) -> u8 {
    rng.u8(..12)
}

fn keys(rng: &mut Rng) -> Vec<u8> {
    (0..rng.usize(..5)).map(|_| key(rng)).collect()
}

fn value(rng: &mut Rng) -> Bytes {
    (0..rng.usize(..4))
        .map(|_| [0, 255, 13][rng.usize(..3)])
        .collect()
}

pub async fn any_sequence_does_what_a_map_does(backend: Backend) {
    for seed in 0..SEQUENCES {
        let mut rng = Rng::with_seed(seed);
        let steps = (0..rng.usize(..LONGEST)).map(|_| step(&mut rng)).collect();
        run(&backend, steps).await;
    }
}

async fn run(backend: &Backend, steps: Vec<Step>) {
    let can = backend.capabilities();
    let names = Names::new();
    // Four groups of three.
    let name = |key: u8| names.key(format!("{}:{}", key % 4, key / 4));
    let mut model = HashMap::<String, Bytes>::new();
    for step in steps {
        match step {
            Step::Get(key) => {
                let found = get(backend, &name(key)).await;
                assert_eq!(found.as_ref(), model.get(&name(key)));
            }
            Step::GetMany(keys) => {
                let keys: Vec<_> = keys.into_iter().map(name).collect();
                let expected: Vec<_> = keys.iter().map(|key| model.get(key).cloned()).collect();
                assert_eq!(get_many(backend, &keys).await, expected);
            }
            Step::Set(key, value, condition) => {
                let key = name(key);
                let current = model.get(&key);
                let (when, refused) = match &condition {
                    _ if !can.compare_and_set => (When::Always, None),
                    Condition::Always => (When::Always, None),
                    Condition::Absent => (When::Absent, current.map(|now| Some(now.clone()))),
                    Condition::Matches(beginning) => {
                        let holds = current.is_some_and(|now| now.starts_with(beginning));
                        (When::Matches(beginning), (!holds).then_some(None))
                    }
                };
                let outcome = set_when(backend, &key, value.clone(), LONG, when).await;
                if let Some(refused) = refused {
                    assert_eq!(outcome, SetOutcome::Refused(refused));
                } else {
                    assert_eq!(outcome, SetOutcome::Stored);
                    model.insert(key, value);
                }
            }
            Step::Remove(keys) => {
                let keys: Vec<_> = keys.into_iter().map(name).collect();
                let removed = remove(backend, &keys).await;
                let expected = keys.iter().filter_map(|key| model.remove(key)).count();
                assert_eq!(removed, expected as u64);
            }
            Step::RemoveGroup(group) if can.remove_matching => {
                let pattern = names.pattern(&format!("{}:*", group % 4));
                let removed = remove_matching(backend, &pattern).await;
                let keys = (0..12).filter(|key| key % 4 == group % 4).map(name);
                let expected = keys.filter_map(|key| model.remove(&key)).count();
                assert_eq!(removed, expected as u64);
            }
            Step::RemoveGroup(_) => {}
        }
    }
}
