//! [`MemoryBackend`] against a `HashMap` that does the same without being clever.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::backend::memory::MemoryBackend;
use crate::backend::{CacheBackend, SetOutcome, When};
use crate::pattern::KeyPattern;

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    GetMany(Vec<u8>),
    Set(u8, Bytes, u64),
    SetAbsent(u8, Bytes, u64),
    SetMatching(u8, Bytes, u64, Bytes),
    Remove(Vec<u8>),
    RemoveMatching(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..12_u8;
    let keys = prop::collection::vec(0..12_u8, 0..5);
    let value = prop::collection::vec(0..3_u8, 0..4).prop_map(Bytes::from);
    // In microseconds; one millisecond is the shortest that counts.
    let ttl = prop_oneof![0..10_000_u64, Just(u64::MAX)];
    let step = prop_oneof![
        3 => key.clone().prop_map(Step::Get),
        1 => keys.clone().prop_map(Step::GetMany),
        4 => (key.clone(), value.clone(), ttl.clone()).prop_map(|(k, v, t)| Step::Set(k, v, t)),
        2 => (key.clone(), value.clone(), ttl.clone())
            .prop_map(|(k, v, t)| Step::SetAbsent(k, v, t)),
        3 => (key.clone(), value.clone(), ttl, value)
            .prop_map(|(k, v, t, m)| Step::SetMatching(k, v, t, m)),
        1 => keys.prop_map(Step::Remove),
        1 => key.prop_map(Step::RemoveMatching),
        3 => (0..3_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Default)]
struct Model {
    entries: HashMap<String, (Bytes, Nanos)>,
    now: Nanos,
}

impl Model {
    fn get(&self, key: &str) -> Option<Bytes> {
        let (value, until) = self.entries.get(key)?;
        (*until > self.now).then(|| value.clone())
    }

    fn set(&mut self, key: String, value: Bytes, ttl: Duration) -> SetOutcome {
        let until = after(self.now, ttl.max(Duration::from_millis(1)));
        self.entries.insert(key, (value, until));
        SetOutcome::Stored
    }

    fn remove(&mut self, key: &str) -> bool {
        let fresh = self.get(key).is_some();
        self.entries.remove(key);
        fresh
    }
}

/// Four groups of three.
fn name(key: u8) -> String {
    format!("{}:{}", key % 4, key / 4)
}

async fn run(steps: Vec<Step>) {
    let hand = Hand::default();
    let backend = MemoryBackend::with(&MemoryLimits::Entries(1_000), hand.clock());
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Get(key) => {
                let found = backend.get(&name(key)).await.expect("memory never fails");
                assert_eq!(found, model.get(&name(key)));
            }
            Step::GetMany(keys) => {
                let names: Vec<_> = keys.into_iter().map(name).collect();
                let keys: Vec<_> = names.iter().map(String::as_str).collect();
                let found = backend.get_many(&keys).await.expect("memory never fails");
                let expected: Vec<_> = keys.iter().map(|key| model.get(key)).collect();
                assert_eq!(found, expected);
            }
            Step::Set(key, value, ttl) => {
                let (key, ttl) = (name(key), Duration::from_micros(ttl));
                let outcome = backend.set(&key, value.clone(), ttl, When::Always).await;
                let expected = model.set(key, value, ttl);
                assert_eq!(outcome.expect("memory never fails"), expected);
            }
            Step::SetAbsent(key, value, ttl) => {
                let (key, ttl) = (name(key), Duration::from_micros(ttl));
                let outcome = backend.set(&key, value.clone(), ttl, When::Absent).await;
                let expected = match model.get(&key) {
                    Some(current) => SetOutcome::Refused(Some(current)),
                    None => model.set(key, value, ttl),
                };
                assert_eq!(outcome.expect("memory never fails"), expected);
            }
            Step::SetMatching(key, value, ttl, beginning) => {
                let (key, ttl) = (name(key), Duration::from_micros(ttl));
                let when = When::Matches(&beginning);
                let outcome = backend.set(&key, value.clone(), ttl, when).await;
                let expected = match model.get(&key) {
                    Some(current) if current.starts_with(&beginning) => model.set(key, value, ttl),
                    _ => SetOutcome::Refused(None),
                };
                assert_eq!(outcome.expect("memory never fails"), expected);
            }
            Step::Remove(keys) => {
                let names: Vec<_> = keys.into_iter().map(name).collect();
                let keys: Vec<_> = names.iter().map(String::as_str).collect();
                let removed = backend.remove(&keys).await.expect("memory never fails");
                let expected = keys.iter().filter(|key| model.remove(key)).count();
                assert_eq!(removed, expected as u64);
            }
            Step::RemoveMatching(group) => {
                let pattern = KeyPattern::new(format!("{}:*", group % 4));
                let removed = backend.remove_matching(&pattern, None).await;
                let keys = (0..12).filter(|key| key % 4 == group % 4).map(name);
                let expected = keys.filter(|key| model.remove(key)).count();
                assert_eq!(removed.expect("memory never fails"), expected as u64);
            }
            Step::Pass(micros) => {
                hand.pass(Duration::from_micros(micros));
                model.now = hand.now();
            }
        }
    }
}

proptest! {
    #[test]
    fn the_backend_does_what_a_map_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(run(steps));
    }
}
