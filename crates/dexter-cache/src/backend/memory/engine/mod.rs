//! The engine of [`MemoryStore`](super::MemoryStore): which entries there are, and which make room for others.
//!
//! **Layout.** A shard is a hash table of counted pointers; what each points to, a [`Node`], holds key, value, deadline
//! and use count side by side. So a look-up outside of the processor's caches waits for three places that depend on
//! each other (control bytes, pointer, node), and the order of eviction lies elsewhere, where look-ups do not go.
//!
//! **Eviction** is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: *FIFO queues are all you need for cache eviction*, SOSP 2023):
//! entries enter a *small* queue of a thirtieth of the capacity; those that were asked for meanwhile move on to the *main* queue,
//! the others make room, and for a while their hashes are remembered, as *ghosts*, which enter the main queue when they
//! come back. The main queue is a FIFO in which an entry that was asked for goes round again, three times at most. A hit
//! changes nothing but a counter of the node, so it needs the shard's lock for reading only.
//!
//! A queue names an entry by its hash and a number. What is removed leaves its place behind, which is recognised when it
//! is met, and cleared away where such places become many ([`queue`]).
//!
//! **Bounds.** An insertion passes over 64 entries at most in search of one that can go. A lock is held for longer than that
//! only where a table grows, where many entries have to make room for a heavy one, and where removals have left many
//! places behind, which are cleared away as they are met. Code of the user
//! (`Drop` of values) runs under none: what leaves a shard is handed to the caller.

mod ghost;
mod node;
mod queue;
mod shard;
#[cfg(all(test, not(shuttle)))]
mod tests;

use std::sync::PoisonError;

use smallvec::SmallVec;

pub(super) use self::node::Node;
use self::shard::Shard;
use super::entry::{Held, KeyRef};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What an insertion pushed out. Dropping it may run code of the user.
pub(super) type Out = SmallVec<[Node; 2]>;

/// Buckets of a table that a walk looks at under one lock, per entry that it may take along.
const BUCKETS_PER_ENTRY: usize = 4;

/// A concurrent map that holds no more than a given weight.
pub(super) struct Engine {
    shards: Box<[Padded]>,
    /// Of each shard.
    max: u64,
}

/// A shard on cache lines of its own: its lock is written to by every look-up.
#[repr(align(128))]
struct Padded(RwLock<Shard>);

/// Where a walk over all entries has come to.
#[derive(Debug, Default)]
pub(super) struct Walk {
    shard: usize,
    bucket: usize,
    /// The layout of the shard's table that `bucket` refers to.
    layout: Option<u64>,
}

impl Engine {
    /// An engine of `shards` shards, a power of two, that each hold entries of at most the weight `max`.
    pub(super) fn new(shards: usize, max: u64) -> Self {
        assert!(shards.is_power_of_two());
        Self {
            shards: (0..shards)
                .map(|_| Padded(RwLock::new(Shard::new(max))))
                .collect(),
            max,
        }
    }

    /// What is stored under `key`; counts as a use.
    #[inline]
    pub(super) fn get(&self, key: &KeyRef<'_>) -> Option<Held> {
        let shard = self.read(key.hash);
        let node = shard.find(key)?;
        node.touch();
        Some(node.held().clone())
    }

    /// Stores a node that weighs no more than a shard may hold, in place of the one with its key.
    pub(super) fn insert(&self, node: Node) -> Out {
        debug_assert!(u64::from(node.weight()) <= self.max);
        self.write(node.hash()).insert(node)
    }

    /// Removes the entry under `key` if it is one that `condition` asks for.
    pub(super) fn remove_if(
        &self,
        key: &KeyRef<'_>,
        condition: impl FnOnce(&Held) -> bool,
    ) -> Option<Node> {
        self.write(key.hash).remove_if(key, condition)
    }

    /// Takes the next entries of a walk along, up to `most`; returns whether there may be more.
    ///
    /// All entries are met that were there when the walk began and that nobody has removed, some of them twice; of those
    /// that are inserted meanwhile some are.
    pub(super) fn walk(&self, walk: &mut Walk, most: usize, nodes: &mut Vec<Node>) -> bool {
        let Some(Padded(shard)) = self.shards.get(walk.shard) else {
            return false;
        };
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        if walk.layout != Some(shard.layout()) {
            // The table was laid out anew: begin it once more.
            walk.bucket = 0;
            walk.layout = Some(shard.layout());
        }
        let until = walk.bucket.saturating_add(most * BUCKETS_PER_ENTRY);
        let until = until.min(shard.buckets());
        while walk.bucket < until && nodes.len() < most {
            nodes.extend(shard.node_in(walk.bucket).cloned());
            walk.bucket += 1;
        }
        if walk.bucket == shard.buckets() {
            walk.shard += 1;
            walk.layout = None;
        }
        walk.shard < self.shards.len()
    }

    /// Removes everything, shard by shard, each in one step.
    pub(super) fn clear(&self) {
        for Padded(shard) in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let entries = shard.take();
            drop(shard);
            drop(entries);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sum(Shard::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn weight(&self) -> u64 {
        self.sum(Shard::weight)
    }

    /// Bytes on the heap, without values and the text of keys.
    #[cfg(test)]
    pub(super) fn memory_used(&self) -> usize {
        self.sum(Shard::memory_used) + size_of_val(&*self.shards)
    }

    fn sum<N: std::iter::Sum>(&self, of: impl Fn(&Shard) -> N) -> N {
        let read =
            |Padded(shard): &Padded| of(&shard.read().unwrap_or_else(PoisonError::into_inner));
        self.shards.iter().map(read).sum()
    }

    #[inline]
    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard> {
        let shard = self.shard(hash).read();
        // A panic within leaves at most an entry without a place in its queue.
        shard.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard> {
        let shard = self.shard(hash).write();
        shard.unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table takes its place from the lowest bits, and its tag from the highest seven.
        let at = usize::try_from(hash >> 40 & 0xffff).unwrap_or(0) & (self.shards.len() - 1);
        &self.shards[at].0
    }
}
