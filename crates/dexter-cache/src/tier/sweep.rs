//! Removal by pattern: one sweep at a time in a process, equal ones merged.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Tier;
use super::journal::named_prefix;
use crate::error::Error;
use crate::pattern::KeyPattern;

/// Below this prefix lies what the tier itself keeps beside values: no pattern removes it.
pub(crate) const RESERVED: &str = "dexter-cache";
/// From this many waiting patterns on, further ones are swept by their prefix.
const CROWDED: usize = 32;
/// How long a sweep waits for the one before it.
const TURN: Duration = Duration::from_secs(30);

/// What a sweep came to, for all who asked for it.
type Swept = Arc<OnceCell<Result<u64, Error>>>;

/// The sweeps that wait for their turn. A second caller of a pattern shares one that has not begun yet; one that has
/// begun may already be past a key that the second caller means.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    waiting: Mutex<HashMap<KeyPattern, Swept>>,
    turn: tokio::sync::Mutex<()>,
}

impl Sweeps {
    fn waiting(&self) -> MutexGuard<'_, HashMap<KeyPattern, Swept>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to sweep for `pattern`: where too many wait already, all that lies under its prefix, which is one sweep for
    /// all patterns of that prefix. A service that invalidates by pattern faster than its database can be walked
    /// loses entries then, and not its memory.
    fn widened(&self, pattern: &KeyPattern) -> KeyPattern {
        let waiting = self.waiting();
        if waiting.len() < CROWDED || waiting.contains_key(pattern) {
            return pattern.clone();
        }
        let prefix = named_prefix(pattern);
        prefix.map_or_else(
            || pattern.clone(),
            |prefix| KeyPattern::new(format!("{}:*", KeyPattern::escape(&prefix))),
        )
    }

    fn place<'a>(&'a self, pattern: &'a KeyPattern) -> Place<'a> {
        let cell = Arc::clone(self.waiting().entry(pattern.clone()).or_default());
        Place {
            sweeps: self,
            pattern,
            cell,
        }
    }
}

/// A caller's place among those that wait for a sweep of one pattern.
struct Place<'a> {
    sweeps: &'a Sweeps,
    pattern: &'a KeyPattern,
    cell: Swept,
}

impl Drop for Place<'_> {
    /// The last one of a sweep that has not begun, given up because the backend broke off, takes the pattern along.
    fn drop(&mut self) {
        let mut waiting = self.sweeps.waiting();
        let is_last = |cell: &Swept| Arc::ptr_eq(cell, &self.cell) && Arc::strong_count(cell) == 2;
        if waiting.get(self.pattern).is_some_and(is_last) {
            waiting.remove(self.pattern);
        }
    }
}

impl Tier {
    pub(super) async fn sweep(&self, pattern: &KeyPattern) -> Result<u64, Error> {
        let pattern = &self.sweeps.widened(pattern);
        let place = self.sweeps.place(pattern);
        let swept = place.cell.get_or_init(|| async {
            // A task of a runtime that stands still may hold the turn: then two sweeps run, which costs time only.
            let _turn = timeout(TURN, self.sweeps.turn.lock()).await;
            self.sweeps.waiting().remove(pattern);
            self.sweep_now(pattern).await
        });
        swept.await.clone()
    }

    /// Removes all keys under some prefixes. Only the guardian does, after an overflow of the journal.
    pub(super) async fn sweep_under(&self, prefixes: &HashSet<Box<str>>) -> Result<u64, Error> {
        let under = |key: &[u8]| {
            std::str::from_utf8(prefix_of(key)).is_ok_and(|prefix| prefixes.contains(prefix))
        };
        self.backend
            .remove_matching(&KeyPattern::new("*"), Some(&under))
            .await
    }

    /// The backend has a deadline of its own for every reply of a sweep: the whole may take longer than a budget, since
    /// it goes through the whole database.
    async fn sweep_now(&self, pattern: &KeyPattern) -> Result<u64, Error> {
        let result = match &self.config.namespace {
            Some(namespace) => {
                let reserved = format!("{namespace}:{RESERVED}:");
                let pattern = pattern.under_namespace(namespace);
                let values =
                    |key: &[u8]| !key.starts_with(reserved.as_bytes()) && pattern.admits(key);
                self.backend.remove_matching(&pattern, Some(&values)).await
            }
            None if pattern.literal_prefix().is_empty() => {
                let used = |key: &[u8]| self.used.covers(prefix_of(key)) && pattern.admits(key);
                self.backend.remove_matching(pattern, Some(&used)).await
            }
            None => {
                let meant =
                    |key: &[u8]| prefix_of(key) != RESERVED.as_bytes() && pattern.admits(key);
                self.backend.remove_matching(pattern, Some(&meant)).await
            }
        };
        match &result {
            Ok(removed) => tracing::debug!(
                target: crate::telemetry::TARGET,
                pattern = %pattern,
                removed,
                "swept the cache backend"
            ),
            Err(error) => {
                tracing::debug!(target: crate::telemetry::TARGET, pattern = %pattern, error = %error, "sweep failed");
            }
        }
        result
    }
}

/// What of a key in the backend stands before its first `:`.
fn prefix_of(key: &[u8]) -> &[u8] {
    key.split(|byte| *byte == b':').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_patterns_is_swept_by_prefix() {
        let sweeps = Sweeps::default();
        let pattern = |number: usize| KeyPattern::new(format!("list:project={number}*"));
        for number in 0..CROWDED {
            assert_eq!(sweeps.widened(&pattern(number)), pattern(number));
            sweeps.waiting().insert(pattern(number), Swept::default());
        }
        assert_eq!(sweeps.widened(&pattern(1)), pattern(1), "it waits already");
        assert_eq!(sweeps.widened(&pattern(99)), KeyPattern::new("list:*"));
        let rough = KeyPattern::new("li*");
        assert_eq!(
            sweeps.widened(&rough),
            rough,
            "less than a prefix is nobody's to widen"
        );
    }
}
