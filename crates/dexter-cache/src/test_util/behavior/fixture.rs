//! Names that no other test uses, and calls that must not fail.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::KeyPattern;
use crate::backend::{CacheBackend, SetOutcome, When};
use bytes::Bytes;

pub(super) type Backend = Arc<dyn CacheBackend>;

/// A TTL that no test lives to see.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Keys under a beginning that belongs to one test alone.
#[derive(Clone)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("behavior.{}.{number}.", process::id()))
    }

    pub(super) fn key(&self, name: impl AsRef<str>) -> String {
        format!("{}{}", self.0, name.as_ref())
    }

    /// A pattern over these keys only.
    pub(super) fn pattern(&self, pattern: &str) -> KeyPattern {
        KeyPattern::new(format!("{}{pattern}", self.0))
    }
}

pub(super) async fn get(backend: &Backend, key: &str) -> Option<Bytes> {
    backend.get(key).await.expect("get")
}

pub(super) async fn get_many(backend: &Backend, keys: &[String]) -> Vec<Option<Bytes>> {
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    backend.get_many(&keys).await.expect("get_many")
}

pub(super) async fn set(backend: &Backend, key: &str, value: impl Into<Bytes>) {
    set_for(backend, key, value, LONG).await;
}

pub(super) async fn set_for(backend: &Backend, key: &str, value: impl Into<Bytes>, ttl: Duration) {
    let outcome = set_when(backend, key, value, ttl, When::Always).await;
    assert_eq!(outcome, SetOutcome::Stored);
}

pub(super) async fn set_when(
    backend: &Backend,
    key: &str,
    value: impl Into<Bytes>,
    ttl: Duration,
    when: When<'_>,
) -> SetOutcome {
    let outcome = backend.set(key, value.into(), ttl, when).await;
    outcome.expect("set")
}

pub(super) async fn remove(backend: &Backend, keys: &[String]) -> u64 {
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    backend.remove(&keys).await.expect("remove")
}

pub(super) async fn remove_matching(backend: &Backend, pattern: &KeyPattern) -> u64 {
    let removed = backend.remove_matching(pattern, None).await;
    removed.expect("remove_matching")
}

/// Waits until `key` is absent.
pub(super) async fn gone(backend: &Backend, key: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    while get(backend, key).await.is_some() {
        assert!(Instant::now() < end, "{key} does not expire");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Ends the calling behaviour where the backend says that it cannot compare and set.
macro_rules! needs_compare_and_set {
    ($backend:expr) => {
        if !$backend.capabilities().compare_and_set {
            return;
        }
    };
}

/// Ends the calling behaviour where the backend cannot enumerate its keys; it must then say so, not answer 0.
macro_rules! needs_patterns {
    ($backend:expr) => {
        if !$backend.capabilities().remove_matching {
            let pattern = crate::KeyPattern::new("none");
            let answer = $backend.remove_matching(&pattern, None).await;
            let kind = answer.expect_err("cannot remove by pattern").kind();
            assert_eq!(kind, crate::ErrorKind::Unsupported);
            return;
        }
    };
}

pub(super) use {needs_compare_and_set, needs_patterns};
