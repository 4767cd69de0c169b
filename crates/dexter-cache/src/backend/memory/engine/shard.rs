//! [`Shard`]: a table, the two queues of its entries, and the ghosts of those that had to go.

use std::mem;

use hashbrown::HashTable;

use super::Out;
use super::ghost::Ghosts;
use super::node::Node;
use super::queue::{Place, Queue};
use crate::backend::memory::entry::{Held, KeyRef};

/// The small queue has this part of the capacity: one twentieth.
const SMALL: u64 = 20;

/// Entries that go round the main queue in search of one that can go. After that many the next one goes, used or not:
/// an insertion is not to wait until all of a shard has gone round.
const ROUNDS: usize = 64;

/// What lies behind one lock.
#[derive(Debug)]
pub(super) struct Shard {
    table: HashTable<Node>,
    /// Changes where entries may have moved within the table.
    layout: u64,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    /// Numbers the entries.
    next: u32,
    max: u64,
}

impl Shard {
    pub(super) fn new(max: u64) -> Self {
        Self {
            table: HashTable::new(),
            layout: 0,
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
            next: 0,
            max,
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &KeyRef<'_>) -> Option<&Node> {
        self.table.find(key.hash, |node| node.text() == key.text)
    }

    pub(super) fn insert(&mut self, node: Node) -> Out {
        let mut out = Out::new();
        let found = self
            .table
            .find_mut(node.hash(), |other| other.text() == node.text());
        if let Some(found) = found {
            node.replace(found);
            let queue = if node.is_in_main() {
                &mut self.main
            } else {
                &mut self.small
            };
            queue.reweigh(found.weight(), node.weight());
            out.push(mem::replace(found, node));
            while self.weight() > self.max && self.evict(&mut out) {}
            return out;
        }
        let weight = u64::from(node.weight());
        while self.weight() + weight > self.max && self.evict(&mut out) {}
        self.next = self.next.wrapping_add(1);
        node.set_number(self.next);
        let place = Place::new(node.hash(), self.next);
        if self.ghosts.recall(node.hash()) {
            node.enter_main();
            self.main.push(place, node.weight());
        } else {
            self.small.push(place, node.weight());
        }
        if self.table.len() == self.table.capacity() {
            // It may grow, or be cleaned up where it is.
            self.layout += 1;
        }
        self.table.insert_unique(node.hash(), node, Node::hash);
        out
    }

    pub(super) fn remove_if(
        &mut self,
        key: &KeyRef<'_>,
        condition: impl FnOnce(&Held) -> bool,
    ) -> Option<Node> {
        let entry = self
            .table
            .find_entry(key.hash, |node| node.text() == key.text)
            .ok()?;
        if !condition(entry.get().held()) {
            return None;
        }
        let (node, _) = entry.remove();
        let queue = if node.is_in_main() {
            &mut self.main
        } else {
            &mut self.small
        };
        queue.leave(node.weight());
        queue.tidy(|place| {
            let is_it = |node: &Node| node.number() == place.number;
            self.table.find(place.hash(), is_it).is_some()
        });
        Some(node)
    }

    /// Everything that was in it.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self {
            layout: self.layout + 1,
            ..Self::new(self.max)
        };
        mem::replace(self, empty)
    }

    /// Makes room: moves entries along, or one of them out. `false` if there is nothing left to move.
    fn evict(&mut self, out: &mut Out) -> bool {
        if self.small.weight() >= (self.max / SMALL).max(1) || self.main.entries() == 0 {
            self.evict_small(out)
        } else {
            self.evict_main(out)
        }
    }

    /// The oldest entry of the small queue goes, or moves on to the main one if it was asked for.
    fn evict_small(&mut self, out: &mut Out) -> bool {
        let Some(place) = self.small.pop() else {
            return false;
        };
        let is_it = |node: &Node| node.number() == place.number;
        let Ok(entry) = self.table.find_entry(place.hash(), is_it) else {
            return true;
        };
        self.small.leave(entry.get().weight());
        if entry.get().use_up() {
            let node = entry.get();
            node.forget_uses();
            node.enter_main();
            self.main.push(place, node.weight());
            return true;
        }
        let (node, _) = entry.remove();
        self.ghosts.remember(place.hash(), self.table.len());
        out.push(node);
        true
    }

    /// The oldest entry of the main queue goes that was not asked for.
    fn evict_main(&mut self, out: &mut Out) -> bool {
        let mut rounds = 0;
        while let Some(place) = self.main.pop() {
            let is_it = |node: &Node| node.number() == place.number;
            let Ok(entry) = self.table.find_entry(place.hash(), is_it) else {
                continue;
            };
            if rounds < ROUNDS && entry.get().use_up() {
                rounds += 1;
                self.main.push_again(place);
                continue;
            }
            let (node, _) = entry.remove();
            self.main.leave(node.weight());
            out.push(node);
            return true;
        }
        false
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.small.weight() + self.main.weight()
    }

    /// Which layout of the table there is: as long as it stays, entries keep their buckets.
    pub(super) fn layout(&self) -> u64 {
        self.layout
    }

    /// How many buckets the table has.
    pub(super) fn buckets(&self) -> usize {
        self.table.num_buckets()
    }

    /// What lies in a bucket, if anything does.
    #[inline]
    pub(super) fn node_in(&self, bucket: usize) -> Option<&Node> {
        self.table.get_bucket(bucket)
    }

    #[cfg(test)]
    pub(super) fn memory_used(&self) -> usize {
        self.table.len() * Node::memory_used()
            + self.table.allocation_size()
            + self.small.memory_used()
            + self.main.memory_used()
            + self.ghosts.memory_used()
    }

    #[cfg(test)]
    pub(super) fn queues(&self) -> [&Queue; 2] {
        [&self.small, &self.main]
    }
}
