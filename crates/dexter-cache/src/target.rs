//! What an invalidation is about, and what it came to.

use crate::key::Key;
use crate::pattern::KeyPattern;
use crate::tag::TagId;

/// What is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Key(Key),
    Pattern(KeyPattern),
    Tag(TagId),
    Everything,
    /// Everything that is fresh; what can be fallen back on stays for that.
    Freshness,
}

impl Target {
    /// Whether it is about this very key. A tag says nothing about keys: it is known to what bears it.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Pattern(pattern) => pattern.matches(key.as_str().as_bytes()),
            Self::Tag(_) => false,
            Self::Everything | Self::Freshness => true,
        }
    }
}

/// What [`Cache::clear_with`](crate::Cache::clear_with) leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clear {
    /// Nothing: no entry answers any more, and none is fallen back on.
    Remove,
    /// What has a stale window is no longer fresh, and stays for the case that its load fails. The rest is removed.
    ///
    /// Where this cannot be done without losing a removal that comes at the same time (a backend without a namespace, or
    /// without compare-and-set, or one that is away), it is [`Remove`](Self::Remove).
    Expire,
}

/// What a removing call did, and how far it has reached.
///
/// From the return of the call on, no caller in this process gets a value whose load began before it, whatever
/// `reach` says. (A removal that was [`Deferred`](Reach::Deferred) and whose transaction is rolled back was none.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalidated {
    /// How many entries were removed. Those are not counted that become void without being looked for: the ones of a
    /// tag, and what a backend holds below a namespace that is cleared. Zero where the backend could not be asked.
    pub removed: u64,
    /// Whether the shared backend has done it.
    pub reach: Reach,
}

/// How far an invalidation has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Everywhere: in this process's memory and in the shared backend, if there is one.
    Applied,
    /// In this process. The backend is away; the removal is written down and is replayed before the backend is
    /// trusted again. Until then other processes may see the old value, for as long as its TTL lasts.
    Journaled,
    /// Not yet anywhere: the call was made within [`Cache::deferred`](crate::Cache::deferred), and the removal is sent
    /// when the transaction ends with `Ok`. Until then a fence stands over what is to be removed.
    Deferred,
}

impl Invalidated {
    pub(crate) const NOTHING: Self = Self {
        removed: 0,
        reach: Reach::Applied,
    };

    /// Held back until a transaction ends.
    pub(crate) const DEFERRED: Self = Self {
        removed: 0,
        reach: Reach::Deferred,
    };

    /// Both of two invalidations.
    pub(crate) fn and(self, other: Self) -> Self {
        let reach = if self.reach == Reach::Applied {
            other.reach
        } else {
            self.reach
        };
        Self {
            removed: self.removed + other.removed,
            reach,
        }
    }
}
