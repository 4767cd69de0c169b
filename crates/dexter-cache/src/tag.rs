//! Tags: labels on entries, so that a group of them is invalidated in one step, however many there are.
//!
//! In this process a tag is a [`TagCell`]: a number that changes with each invalidation. An entry and a load under way
//! hold [`Marks`], the numbers that they saw before the load. A number that has changed since makes an entry a miss and
//! keeps a load from being stored, wherever they are: an invalidation looks for nothing.
//!
//! A cell's word holds two numbers: how many fences stand over the tag, in the low bits, and above them how often one
//! was raised or lowered. A mark that was taken under a fence is never valid: what such a load reads may be what is just
//! being removed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

const SHARDS: usize = 16;
/// A shard is looked through for cells that nobody needs when it has this many, or twice as many as the last look left.
const SWEEP_FROM: usize = 256;

/// One more change, and one more fence.
const RAISED: u64 = STEP + 1;
/// One more change, and one fence less: what is added.
const LOWERED: u64 = STEP - 1;
const STEP: u64 = 1 << 24;
const FENCES: u64 = STEP - 1;

/// What a tag is known by: 64 bits of the SHA-256 of its text, the same in every process. Two tags that share them would
/// be invalidated together, which costs loads and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TagId(pub(crate) u64);

impl TagId {
    pub(crate) fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// The tags of a call: few, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TagSet(Vec<TagId>);

impl TagSet {
    pub(crate) const EMPTY: Self = Self(Vec::new());

    pub(crate) fn add(&mut self, tag: TagId) {
        if !self.0.contains(&tag) {
            self.0.push(tag);
        }
    }

    pub(crate) fn as_slice(&self) -> &[TagId] {
        &self.0
    }
}

/// How often a tag was invalidated in this process, and whether it is just being.
#[derive(Default)]
pub(crate) struct TagCell(AtomicU64);

impl TagCell {
    #[inline]
    fn word(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a load saw of its tags before it began. Empty for most: then it allocates nothing.
#[derive(Clone, Default)]
pub(crate) struct Marks(SmallVec<[(Arc<TagCell>, u64); 1]>);

impl Marks {
    /// Whether no tag was invalidated since the marks were taken, nor was just being invalidated at the time. What a
    /// value has to satisfy to be stored, and to be found.
    #[inline]
    pub(crate) fn are_valid(&self) -> bool {
        self.0
            .iter()
            .all(|(cell, seen)| seen & FENCES == 0 && cell.word() == *seen)
    }

    /// Whether nothing has changed since the marks were taken. What a load has to satisfy to be joined: one that began
    /// while a fence stands may be shared by who comes while it still stands.
    #[inline]
    pub(crate) fn are_unchanged(&self) -> bool {
        self.0.iter().all(|(cell, seen)| cell.word() == *seen)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (cell, seen) in other.0 {
            let is_there = |(own, at): &(Arc<TagCell>, u64)| *at == seen && Arc::ptr_eq(own, &cell);
            if !self.0.iter().any(is_there) {
                self.0.push((cell, seen));
            }
        }
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Marks").field(&self.0.len()).finish()
    }
}

/// All tags that somebody in this process needs to know about: an entry, a load, a fence.
#[derive(Default)]
pub(crate) struct TagTable {
    /// As a cell's word, over all tags together.
    all: TagCell,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    cells: HashMap<TagId, Arc<TagCell>>,
    /// At which size to look for cells that nobody needs.
    sweep_at: usize,
}

impl TagTable {
    /// What is to be seen of `tags` now.
    pub(crate) fn marks(&self, tags: &[TagId]) -> Marks {
        let marks = tags.iter().map(|tag| {
            let cell = self.cell(*tag);
            let seen = cell.word();
            (cell, seen)
        });
        Marks(marks.collect())
    }

    /// A number that changes with every invalidation of any tag. Tags that become known by a load must not have been
    /// invalidated since it began: if this is what it was then, none was.
    pub(crate) fn moves(&self) -> Moves {
        Moves(self.all.word())
    }

    /// Whether no tag was invalidated since `seen`, nor was just being invalidated then.
    pub(crate) fn has_rested(&self, seen: Moves) -> bool {
        seen.0 & FENCES == 0 && self.all.word() == seen.0
    }

    /// Whether a fence stands over one of these.
    pub(crate) fn is_standing(&self, tag: TagId) -> bool {
        self.all.word() & FENCES != 0
            && self
                .shard(tag)
                .cells
                .get(&tag)
                .is_some_and(|cell| cell.word() & FENCES != 0)
    }

    /// Makes all marks of `tag` invalid, and those that are taken before the fence is dropped.
    pub(crate) fn raise(self: &Arc<Self>, tag: TagId) -> TagFence {
        let cell = self.cell(tag);
        // The number over all first: a load that looks at it after it has taken its marks sees this, or holds marks
        // that the next line makes invalid.
        self.all.0.fetch_add(RAISED, Ordering::SeqCst);
        cell.0.fetch_add(RAISED, Ordering::SeqCst);
        TagFence {
            table: Arc::clone(self),
            cell,
        }
    }

    /// The cell of a tag, which is made if need be.
    fn cell(&self, tag: TagId) -> Arc<TagCell> {
        let mut shard = self.shard(tag);
        if let Some(cell) = shard.cells.get(&tag) {
            return Arc::clone(cell);
        }
        if shard.cells.len() >= shard.sweep_at.max(SWEEP_FROM) {
            // What only the table holds says nothing to anybody: the next one who asks may as well begin with a new one.
            shard.cells.retain(|_, cell| Arc::strong_count(cell) > 1);
            shard.sweep_at = shard.cells.len() * 2;
            let room = shard.sweep_at.max(SWEEP_FROM);
            shard.cells.shrink_to(room);
        }
        let cell = Arc::<TagCell>::default();
        shard.cells.insert(tag, Arc::clone(&cell));
        cell
    }

    fn shard(&self, tag: TagId) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(tag.0 % SHARDS as u64).unwrap_or(0);
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tags are known.
    #[cfg(test)]
    fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| {
                shard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .cells
                    .len()
            })
            .sum()
    }
}

impl fmt::Debug for TagTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagTable").finish_non_exhaustive()
    }
}

/// How often any tag was invalidated, at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moves(pub(crate) u64);

/// A fence over a tag; dropping it lowers it.
#[must_use = "dropping a fence lowers it"]
pub(crate) struct TagFence {
    table: Arc<TagTable>,
    cell: Arc<TagCell>,
}

impl Drop for TagFence {
    fn drop(&mut self) {
        self.cell.0.fetch_add(LOWERED, Ordering::SeqCst);
        self.table.all.0.fetch_add(LOWERED, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(number: u64) -> TagId {
        TagId::of(&format!("tag:{number}"))
    }

    #[test]
    fn an_invalidation_ends_the_marks_of_its_tag_and_no_others() {
        let table = Arc::new(TagTable::default());
        let (one, both, other) = (
            table.marks(&[tag(1)]),
            table.marks(&[tag(1), tag(2)]),
            table.marks(&[tag(2)]),
        );
        let before = table.moves();
        assert!(one.are_valid() && both.are_valid() && table.has_rested(before));
        drop(table.raise(tag(1)));
        assert!(!one.are_valid() && !both.are_valid() && other.are_valid());
        assert!(!one.are_unchanged() && other.are_unchanged());
        assert!(!table.has_rested(before));
        assert!(table.has_rested(table.moves()));
        assert!(table.marks(&[tag(1)]).are_valid());
    }

    #[test]
    fn marks_that_are_there_already_are_not_put_in_again() {
        let table = Arc::new(TagTable::default());
        let mut marks = table.marks(&[tag(1)]);
        for _ in 0..3 {
            marks.extend(table.marks(&[tag(1), tag(2)]));
        }
        assert_eq!(marks.0.len(), 2);
        drop(table.raise(tag(1)));
        marks.extend(table.marks(&[tag(1)]));
        assert!(!marks.are_valid(), "what was seen before counts");
    }

    #[test]
    fn marks_under_a_fence_are_never_valid() {
        let table = Arc::new(TagTable::default());
        let fences = [table.raise(tag(1)), table.raise(tag(1))];
        let (born, moves) = (table.marks(&[tag(1)]), table.moves());
        assert!(!born.are_valid() && born.are_unchanged() && table.is_standing(tag(1)));
        assert!(!table.has_rested(moves) && !table.is_standing(tag(2)));
        let [first, second] = fences;
        drop(first);
        assert!(!born.are_unchanged());
        assert!(
            !table.marks(&[tag(1)]).are_valid(),
            "the second still stands"
        );
        drop(second);
        assert!(table.marks(&[tag(1)]).are_valid() && !table.is_standing(tag(1)));
    }

    #[test]
    fn tags_that_nobody_holds_are_forgotten() {
        let table = Arc::new(TagTable::default());
        let kept: Vec<Marks> = (0..1_000)
            .map(|number| table.marks(&[tag(number)]))
            .collect();
        for number in 0..1_000_000 {
            drop(table.marks(&[TagId(number)]));
            if number % 10 == 0 {
                drop(table.raise(TagId(number)));
            }
        }
        assert!(
            table.len() <= 2 * (1_000 + SHARDS * SWEEP_FROM),
            "{}",
            table.len()
        );
        drop(table.raise(tag(7)));
        assert!(!kept[7].are_valid(), "what is held is not forgotten");
        assert!(kept[8].are_valid());
    }

    #[test]
    fn a_tag_has_the_same_number_in_every_process_and_version() {
        assert_eq!(
            TagId::of("issue:7"),
            TagId(0x74a4_e442_037d_2dc7),
            "fixed for ever"
        );
    }
}
