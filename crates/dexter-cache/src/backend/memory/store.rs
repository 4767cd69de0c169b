//! [`MemoryStore`]: typed values with a deadline each, within a bound.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::engine::{Engine, Node, Out, Walk};
use super::entry::{Held, KeyRef};
use super::limits::{EntryInfo, MemoryLimits, Plan, Weigher};
use super::sweep::Sweeping;
use crate::backend::KeyFilter;
use crate::clock::{Clock, Nanos};
use crate::pattern::KeyPattern;

/// Entries that a walk looks at before it lets other tasks run: about 20 µs, and with a pattern that is hard to match
/// still below 200 µs.
pub(super) const SLICE: usize = 256;

/// Typed values in the memory of this process, each until its own deadline, bounded by number or weight.
///
/// An entry past its deadline is absent, whether it has been given back yet or not. No lock is held while code of the
/// user runs (weighing, filters, `Drop` of values), nor across an `await`.
pub(crate) struct MemoryStore {
    pub(super) entries: Engine,
    pub(super) clock: Clock,
    pub(super) sweeping: Sweeping,
    /// What the sweeping task holds, so that it does not keep the store alive.
    pub(super) this: Weak<Self>,
    weigher: Option<Weigher>,
    heaviest: u64,
    evicted: AtomicU64,
    expired: AtomicU64,
    refused: AtomicU64,
}

/// An entry that is about to be stored.
pub(crate) struct Weighed(Node);

/// What storing an entry came to, and what it pushed out: dropping this may run code of the user.
pub(crate) struct Put {
    pub(crate) stored: bool,
    _out: Out,
    /// What was stored: another thread may have removed it already, and this be the last to hold it.
    _stored: Option<Node>,
}

impl MemoryStore {
    pub(crate) fn new(limits: &MemoryLimits, clock: Clock) -> Arc<Self> {
        let Plan { shards, max } = limits.plan();
        Arc::new_cyclic(|this| Self {
            entries: Engine::new(shards, max),
            clock,
            sweeping: Sweeping::default(),
            this: this.clone(),
            weigher: limits.weigher(),
            heaviest: max,
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The value under `key`, if it is fresh. Neither allocates nor hashes; one shard is locked for reading.
    #[inline]
    pub(crate) fn get<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<Held> {
        let key = key.into();
        let held = self.entries.get(&key)?;
        let now = self.clock.coarse();
        if held.is_fresh(now) {
            return Some(held);
        }
        if held.is_gone(now) {
            self.give_back(&key, now);
        }
        None
    }

    /// What is kept under `key`, fresh or not.
    pub(crate) fn get_kept<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<Held> {
        let held = self.entries.get(&key.into())?;
        (!held.is_gone(self.clock.coarse())).then_some(held)
    }

    /// Stores `held`, in place of what was there, in one step. `encoded_len` is for the weigher.
    ///
    /// Returns whether the value was stored. One that is heavier than all others together may be is not, and evicts
    /// nothing; what was under the key is gone all the same.
    pub(crate) fn insert<'k>(
        &self,
        key: impl Into<KeyRef<'k>>,
        held: Held,
        encoded_len: Option<usize>,
    ) -> bool {
        self.put(self.weigh(key, held, encoded_len)).stored
    }

    /// The first half of [`insert`](Self::insert), for callers that hold a lock over the second half: it asks the
    /// weigher, which is code of the user.
    pub(crate) fn weigh<'k>(
        &self,
        key: impl Into<KeyRef<'k>>,
        held: Held,
        encoded_len: Option<usize>,
    ) -> Weighed {
        let key = key.into();
        // What weighs nothing would never make room.
        let weight = self.weigher.as_ref().map_or(1, |weigh| {
            let info = EntryInfo {
                key: key.text,
                value: &*held.value,
                encoded_len,
            };
            weigh(&info).max(1)
        });
        Weighed(Node::new(key, weight, held))
    }

    /// The second half: runs no code of the user, if what it returns is dropped after the lock is let go of.
    pub(crate) fn put(&self, weighed: Weighed) -> Put {
        let Weighed(node) = weighed;
        if u64::from(node.weight()) > self.heaviest {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let mut out = Out::new();
            out.extend(self.entries.remove_if(&node.key(), |_| true));
            out.push(node);
            return Put {
                stored: false,
                _out: out,
                _stored: None,
            };
        }
        let kept_until = node.held().kept_until();
        let out = self.entries.insert(node.clone());
        for pushed_out in &out {
            self.count_pushed_out(&node, pushed_out);
        }
        self.sweeping.expect(kept_until);
        self.ensure_sweeping();
        Put {
            stored: true,
            _out: out,
            _stored: Some(node),
        }
    }

    /// Removes `key`; returns whether a fresh value was there.
    pub(crate) fn remove<'k>(&self, key: impl Into<KeyRef<'k>>) -> bool {
        let now = self.clock.coarse();
        self.take(key).is_some_and(|held| held.is_fresh(now))
    }

    /// Removes `key`, and leaves it to the caller to drop what was there: `Drop` is code of the user.
    pub(crate) fn take<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<Held> {
        self.entries
            .remove_if(&key.into(), |_| true)
            .map(|node| node.held().clone())
    }

    /// Removes every entry whose key `pattern` matches and `filter` lets pass; returns how many fresh ones there were.
    ///
    /// Entries that were there when the walk began and that nobody removed meanwhile are removed; of those inserted
    /// meanwhile some are. The walk goes in slices and yields to the runtime between them. Dropping the future ends
    /// it where it is.
    pub(crate) async fn remove_matching(&self, pattern: &KeyPattern, filter: KeyFilter<'_>) -> u64 {
        self.remove_where(
            |key| pattern.matches(key) && filter.is_none_or(|allows| allows(key)),
            |key| self.remove_stored(key),
        )
        .await
    }

    /// The walk of [`remove_matching`](Self::remove_matching): `remove` tells whether it removed a fresh value.
    pub(super) async fn remove_where(
        &self,
        matches: impl Fn(&[u8]) -> bool,
        remove: impl Fn(&KeyRef<'_>) -> bool,
    ) -> u64 {
        let mut removed = 0;
        let mut walk = Walk::default();
        let mut nodes = Vec::new();
        loop {
            let more = self.entries.walk(&mut walk, SLICE, &mut nodes);
            for node in nodes.drain(..) {
                if matches(node.text()) {
                    removed += u64::from(remove(&node.key()));
                }
            }
            if !more {
                return removed;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whatever is under the key now goes, also a value that came after the walk had met the key: it matches, and
    /// was written within the call.
    pub(super) fn remove_stored(&self, key: &KeyRef<'_>) -> bool {
        let now = self.clock.coarse();
        self.entries
            .remove_if(key, |_| true)
            .is_some_and(|node| node.held().is_fresh(now))
    }

    /// Removes everything. Takes about 0.1 µs an entry, with no lock held meanwhile.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    /// Makes every entry that can be fallen back on one that can only be that, and removes the others; returns how many
    /// fresh ones there were. A walk as that of [`remove_matching`](Self::remove_matching).
    pub(crate) async fn expire_all(&self) -> u64 {
        let mut expired = 0;
        let mut walk = Walk::default();
        let mut nodes = Vec::new();
        loop {
            let more = self.entries.walk(&mut walk, SLICE, &mut nodes);
            for node in nodes.drain(..) {
                let was_fresh = node.held().is_fresh(self.clock.coarse());
                if node.held().expire() {
                    expired += u64::from(was_fresh);
                } else {
                    expired += u64::from(self.remove_stored(&node.key()));
                }
            }
            if !more {
                return expired;
            }
            tokio::task::yield_now().await;
        }
    }

    /// How many entries there are, those counted that have expired and are not given back yet.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries weigh together; their number where the store is bounded by number.
    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
    }

    /// How many fresh entries were pushed out by others.
    pub(crate) fn evictions(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// How many entries were given back after their deadline.
    pub(crate) fn expirations(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// How many values were too heavy to be stored.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Removes the entry if it is (still) an expired one: a value stored since is left alone.
    #[cold]
    fn give_back(&self, key: &KeyRef<'_>, now: Nanos) {
        let gone = self.entries.remove_if(key, |held| held.is_gone(now));
        if gone.is_some_and(|node| node.held().is_over(now)) {
            self.count_expired(1);
        }
    }

    pub(super) fn count_expired(&self, count: u64) {
        self.expired.fetch_add(count, Ordering::Relaxed);
    }

    fn count_pushed_out(&self, inserted: &Node, out: &Node) {
        let now = self.clock.coarse();
        let held = out.held();
        if held.is_over(now) {
            self.count_expired(1);
        } else if held.is_gone(now) {
            // Its tag was invalidated.
        } else if inserted.text() != out.text() {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("len", &self.len())
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}
