//! [`Queue`]: the order in which entries came, without holding them.

use std::collections::VecDeque;

use super::node::Node;

/// Places whose entries are gone before they are cleared away, beside as many as there are entries.
const SPARE: usize = 32;

/// Places that a removal looks at where too many are left behind. More than two, so that they become fewer.
const LOOKS: usize = 4;

/// Names an entry of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Of its key, in two halves, which keeps the place at twelve bytes.
    hash: [u32; 2],
    number: u32,
}

impl Place {
    pub(super) fn new(hash: u64, number: u32) -> Self {
        let halves = [hash >> 32, hash & 0xffff_ffff];
        Self {
            hash: halves.map(|half| u32::try_from(half).unwrap_or(0)),
            number,
        }
    }

    /// Whether the entry is the one that is meant, and not another with its hash.
    pub(super) fn is_of(self, node: &Node) -> bool {
        self.number == node.number()
    }

    pub(super) fn hash(self) -> u64 {
        u64::from(self.hash[0]) << 32 | u64::from(self.hash[1])
    }
}

/// Places, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: VecDeque<Place>,
    /// Entries that have a place here, and their weight.
    entries: usize,
    weight: u64,
}

impl Queue {
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// An entry comes.
    pub(super) fn push(&mut self, place: Place, weight: u32) {
        self.places.push_back(place);
        self.entries += 1;
        self.weight += u64::from(weight);
    }

    /// The oldest place, whether its entry is still there or not. The entry is counted on.
    pub(super) fn pop(&mut self) -> Option<Place> {
        self.places.pop_front()
    }

    /// The oldest place, left where it is.
    pub(super) fn oldest(&self) -> Option<Place> {
        self.places.front().copied()
    }

    /// The place of an entry that goes round once more.
    pub(super) fn push_again(&mut self, place: Place) {
        self.places.push_back(place);
    }

    /// An entry goes. Its place may be left behind.
    pub(super) fn leave(&mut self, weight: u32) {
        self.entries -= 1;
        self.weight -= u64::from(weight);
    }

    /// An entry has another weight.
    pub(super) fn reweigh(&mut self, from: u32, to: u32) {
        self.weight = self.weight - u64::from(from) + u64::from(to);
    }

    /// Clears some places away that were left behind, if there are too many. Those that it meets meanwhile go round.
    pub(super) fn tidy(&mut self, is_there: impl Fn(Place) -> bool) {
        if self.places.len() <= 2 * self.entries + SPARE {
            return;
        }
        for _ in 0..LOOKS {
            match self.places.pop_front() {
                Some(place) if is_there(place) => self.places.push_back(place),
                _ => {}
            }
        }
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(super) fn memory_used(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }
}
