//! Operations in any order, against a map that does the same. Nothing expires here.

use std::collections::HashMap;

use bytes::Bytes;
use dexter_cache::backend::{SetOutcome, When};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::fixture::{Backend, LONG, Names, get, get_many, remove, remove_matching, set_when};

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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..12_u8;
    let keys = prop::collection::vec(key.clone(), 0..5);
    let value = prop::collection::vec(prop_oneof![Just(0_u8), Just(255), Just(13)], 0..4);
    let value = value.prop_map(Bytes::from);
    let condition = prop_oneof![
        Just(Condition::Always),
        Just(Condition::Absent),
        value.clone().prop_map(Condition::Matches),
    ];
    let step = prop_oneof![
        3 => key.clone().prop_map(Step::Get),
        1 => keys.clone().prop_map(Step::GetMany),
        6 => (key.clone(), value, condition).prop_map(|(k, v, c)| Step::Set(k, v, c)),
        1 => keys.prop_map(Step::Remove),
        1 => key.prop_map(Step::RemoveGroup),
    ];
    prop::collection::vec(step, 0..60)
}

pub(crate) async fn any_sequence_does_what_a_map_does(backend: Backend) {
    let config = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    block_in_place(|| {
        TestRunner::new(config)
            .run(&steps(), |steps| {
                Handle::current().block_on(run(&backend, steps));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    });
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
