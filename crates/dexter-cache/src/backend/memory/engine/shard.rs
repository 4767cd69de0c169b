//! [`Shard`]: a table, the two queues of its entries, and the ghosts of those that had to go.

use std::mem;

use hashbrown::HashTable;

use super::Out;
use super::ghost::Ghosts;
use super::node::Node;
use super::queue::{Place, Queue};
use crate::backend::memory::entry::{Held, KeyRef};

/// The small queue has this part of the capacity: one thirtieth, as a compromise. A twentieth hits a hundredth more often on
/// the recorded trace of a database, and less on zipf and, by three hundredths, on loops; a fiftieth the other way round.
const SMALL: u64 = 30;

/// Entries that one insertion passes over, since they were asked for, in search of one that can go. After that many the
/// next one goes, used or not: nobody is to wait until all of a shard has gone round.
const PASSED_OVER: usize = 64;
/// Entries that an insertion moves along while there is room, so that there is less to be moved when there is none.
const MOVED_ALONG: usize = 4;

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
        let grown = found.map(|found| {
            let weight = |node: &Node| u64::from(node.weight());
            let others = self.small.weight() + self.main.weight() - weight(found);
            if others + weight(&node) > self.max {
                return true;
            }
            node.replace(found);
            let queue = queue_of(&node, &mut self.small, &mut self.main);
            queue.reweigh(found.weight(), node.weight());
            out.push(mem::replace(found, node.clone()));
            false
        });
        match grown {
            Some(false) => return out,
            // It must not be the one that goes to make room for itself.
            Some(true) => out.extend(self.remove_if(&node.key(), |_| true)),
            None => {}
        }
        let weight = u64::from(node.weight());
        let mut passed_over = 0;
        while self.weight() + weight > self.max && self.evict(&mut passed_over, &mut out) {}
        self.move_along();
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
        let queue = queue_of(&node, &mut self.small, &mut self.main);
        queue.leave(node.weight());
        let table = &self.table;
        queue.tidy(|place| table.find(place.hash(), |node| place.is_of(node)).is_some());
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

    /// Makes room: moves an entry along, or one out. `false` if there is nothing left to move.
    fn evict(&mut self, passed_over: &mut usize, out: &mut Out) -> bool {
        if self.small.weight() >= self.small_share() || self.main.entries() == 0 {
            self.evict_small(passed_over, out)
        } else {
            self.evict_main(passed_over, out)
        }
    }

    fn small_share(&self) -> u64 {
        (self.max / SMALL).max(1)
    }

    /// Moves some of the oldest entries on to the main queue that were asked for, while the small one has more than its
    /// share.
    fn move_along(&mut self) {
        for _ in 0..MOVED_ALONG {
            if self.small.weight() <= self.small_share() {
                return;
            }
            let Some(place) = self.small.oldest() else {
                return;
            };
            match self.table.find(place.hash(), |node| place.is_of(node)) {
                // Whether it was not asked for is known when it has to make room.
                Some(node) if !node.is_used() => return,
                Some(node) => move_on(place, node, &mut self.small, &mut self.main),
                None => {}
            }
            self.small.pop();
        }
    }

    /// The oldest entry of the small queue goes, or moves on to the main one if it was asked for.
    fn evict_small(&mut self, passed_over: &mut usize, out: &mut Out) -> bool {
        let Some(place) = self.small.pop() else {
            return false;
        };
        let entry = self
            .table
            .find_entry(place.hash(), |node| place.is_of(node));
        let Ok(entry) = entry else {
            return true;
        };
        if entry.get().is_used() && *passed_over < PASSED_OVER {
            *passed_over += 1;
            move_on(place, entry.get(), &mut self.small, &mut self.main);
            return true;
        }
        let (node, _) = entry.remove();
        self.small.leave(node.weight());
        self.ghosts.remember(place.hash(), self.table.len());
        out.push(node);
        true
    }

    /// The oldest entry of the main queue goes, or round once more if it was asked for.
    fn evict_main(&mut self, passed_over: &mut usize, out: &mut Out) -> bool {
        let Some(place) = self.main.pop() else {
            return false;
        };
        let entry = self
            .table
            .find_entry(place.hash(), |node| place.is_of(node));
        let Ok(entry) = entry else {
            return true;
        };
        if *passed_over < PASSED_OVER && entry.get().use_up() {
            *passed_over += 1;
            self.main.push_again(place);
            return true;
        }
        let (node, _) = entry.remove();
        self.main.leave(node.weight());
        out.push(node);
        true
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

/// The queue that an entry is in.
fn queue_of<'q>(node: &Node, small: &'q mut Queue, main: &'q mut Queue) -> &'q mut Queue {
    if node.is_in_main() { main } else { small }
}

/// Moves an entry of the small queue on to the main one, where it has to be asked for anew.
fn move_on(place: Place, node: &Node, small: &mut Queue, main: &mut Queue) {
    node.forget_uses();
    node.enter_main();
    small.leave(node.weight());
    main.push(place, node.weight());
}
