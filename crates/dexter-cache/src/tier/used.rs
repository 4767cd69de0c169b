//! The prefixes under which this process has written, or has found what this library wrote. Without a namespace they are all that tells our keys from others'.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

/// Prefixes come from code; a program that has more of them puts data where the prefix belongs.
const MAX_PREFIXES: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct UsedPrefixes(RwLock<HashSet<Box<str>, RandomState>>);

impl UsedPrefixes {
    pub(super) fn note(&self, prefix: &str) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(prefix) || known.len() > MAX_PREFIXES {
            return;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() == MAX_PREFIXES {
            tracing::warn!(
                target: crate::telemetry::TARGET,
                "keys under more prefixes than can be remembered: `clear` will leave some of them to their TTL; put data \
                 behind a `:`, or give the cache a namespace"
            );
        }
        known.insert(prefix.into());
    }

    pub(super) fn covers(&self, prefix: &[u8]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        std::str::from_utf8(prefix).is_ok_and(|prefix| known.contains(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_with_a_longer_name_is_not_covered() {
        let used = UsedPrefixes::default();
        used.note("users");
        assert!(used.covers(b"users"));
        assert!(!used.covers(b"usersAbc"));
        assert!(!used.covers(b"session"));
        assert!(!used.covers(b"\xFF"));
    }
}
