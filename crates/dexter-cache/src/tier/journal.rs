//! The removals that the backend has not confirmed, to be replayed before it is trusted again.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use crate::flight::KeyHasher;
use crate::key::Key;
use crate::pattern::KeyPattern;
use crate::tag::TagId;
use crate::target::Target;
use crate::telemetry::TARGET;

/// Beyond this many keys the journal holds what they have in common instead: one sweep is then no worse than the keys,
/// and the memory stays bounded.
const MAX_KEYS: usize = 10_000;
/// Each pattern costs a sweep of the whole database.
const MAX_PATTERNS: usize = 64;
/// Prefixes, and patterns that name none, are the last that can be given up.
const MAX_ROUGH: usize = 100_000;

/// A set: replaying a removal twice is the same as once, and order does not matter, since a replay only removes.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Everything below the namespace belongs to this cache. Without one, an overflow keeps to the prefixes it was
    /// told to remove under.
    namespaced: bool,
    keys: HashSet<Key, BuildHasherDefault<KeyHasher>>,
    /// Hashed alike in every run, so that a test which is run again replays in the same order.
    patterns: HashSet<KeyPattern, BuildHasherDefault<DefaultHasher>>,
    tags: HashSet<TagId, BuildHasherDefault<DefaultHasher>>,
    prefixes: Arc<HashSet<Box<str>>>,
    everything: bool,
    overflowed: bool,
    /// What is being replayed, and by whom: it waits until that one has said that it is done.
    replaying: (u64, Vec<Entry>),
}

/// What is to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Target(Target),
    /// All keys under these prefixes.
    Under(Arc<HashSet<Box<str>>>),
}

impl Journal {
    pub(super) fn new(namespaced: bool) -> Self {
        Self {
            namespaced,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, target: Target) {
        if self.everything && self.namespaced {
            return;
        }
        match target {
            // A replay only removes: what was to go stale is gone.
            Target::Everything | Target::Freshness if self.namespaced => self.give_up_all(),
            // Without a namespace it means the prefixes of this process, and others may be written down beside it.
            Target::Everything | Target::Freshness => self.everything = true,
            Target::Tag(tag) => self.keep_tag(tag),
            Target::Key(key) if self.overflowed => self.keep_prefix(key.prefix()),
            Target::Key(key) => drop(self.keys.insert(key)),
            Target::Pattern(pattern) => self.keep_pattern(pattern),
        }
        if self.keys.len() > MAX_KEYS || (self.patterns.len() > MAX_PATTERNS && !self.overflowed) {
            self.overflow();
        }
    }

    /// Takes entries of another journal, or what was given out and not done.
    pub(super) fn push_back(&mut self, entry: Entry) {
        match entry {
            Entry::Target(target) => self.push(target),
            Entry::Under(prefixes) => prefixes.iter().for_each(|prefix| self.keep_prefix(prefix)),
        }
    }

    /// Once the journal has overflowed, only what nothing shorter stands for is kept as it is, and not much of it.
    fn keep_pattern(&mut self, pattern: KeyPattern) {
        match named_prefix(&pattern).filter(|_| self.overflowed) {
            Some(prefix) => self.keep_prefix(&prefix),
            None if self.overflowed
                && self.patterns.len() >= MAX_PATTERNS
                && !self.patterns.contains(&pattern) =>
            {
                self.give_up_known("patterns");
            }
            None => drop(self.patterns.insert(pattern)),
        }
    }

    /// A tag is a key as well, and a small one. There is nothing that several of them have in common, but the namespace.
    fn keep_tag(&mut self, tag: TagId) {
        let most = if self.namespaced { MAX_KEYS } else { MAX_ROUGH };
        if self.tags.len() < most || self.tags.contains(&tag) {
            self.tags.insert(tag);
        } else if self.namespaced {
            self.give_up_all();
        } else {
            self.give_up_known("tags");
        }
    }

    /// Without a namespace, the last resort: all that this process has used.
    fn give_up_known(&mut self, what: &str) {
        if !self.everything {
            tracing::error!(
                target: TARGET,
                "more {what} are invalidated than can be written down: what this process knows of is removed instead"
            );
        }
        self.everything = true;
        self.overflowed = true;
    }

    fn overflow(&mut self) {
        if self.namespaced {
            self.give_up_all();
            return;
        }
        self.overflowed = true;
        for key in std::mem::take(&mut self.keys) {
            self.keep_prefix(key.prefix());
        }
        for pattern in std::mem::take(&mut self.patterns) {
            // Only a whole prefix stands for a pattern: less would remove what others wrote.
            match named_prefix(&pattern) {
                Some(prefix) => self.keep_prefix(&prefix),
                None => drop(self.patterns.insert(pattern)),
            }
        }
    }

    fn give_up_all(&mut self) {
        *self = Self {
            everything: true,
            overflowed: true,
            ..Self::new(self.namespaced)
        };
    }

    fn keep_prefix(&mut self, prefix: &str) {
        if self.prefixes.contains(prefix) {
            return;
        }
        if self.prefixes.len() >= MAX_ROUGH {
            return self.give_up_known("prefixes");
        }
        Arc::make_mut(&mut self.prefixes).insert(prefix.into());
    }

    /// Whether it holds less than it was told, and so will remove more.
    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Everything that it holds.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let keys = self.keys.iter().cloned().map(Target::Key);
        let patterns = self.patterns.iter().cloned().map(Target::Pattern);
        let tags = self.tags.iter().copied().map(Target::Tag);
        let everything = self.everything.then_some(Target::Everything);
        let mut entries: Vec<Entry> = keys
            .chain(patterns)
            .chain(tags)
            .chain(everything)
            .map(Entry::Target)
            .collect();
        if !self.prefixes.is_empty() {
            entries.push(Entry::Under(Arc::clone(&self.prefixes)));
        }
        entries
    }

    /// Drops everything.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.namespaced);
    }

    /// How many removals wait; one that stands for many counts as one.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
            + self.patterns.len()
            + self.tags.len()
            + self.prefixes.len()
            + usize::from(self.everything)
            + self.replaying.1.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that waits, to be replayed by `replayer`; also what an earlier one has not finished, because it
    /// failed, or its runtime ended or stands still. It goes on waiting until [`done`](Self::done).
    pub(super) fn take(&mut self, replayer: u64) -> Vec<Entry> {
        let unfinished = std::mem::take(&mut self.replaying.1);
        for entry in unfinished {
            self.push_back(entry);
        }
        let entries = self.entries();
        self.forget();
        self.replaying = (replayer, entries.clone());
        entries
    }

    /// What `replayer` took has been removed, unless another one has taken it over.
    pub(super) fn done(&mut self, replayer: u64) {
        if self.replaying.0 == replayer {
            self.replaying.1.clear();
        }
    }
}

/// The prefix that all keys have which the pattern matches.
pub(super) fn named_prefix(pattern: &KeyPattern) -> Option<String> {
    let literal = pattern.literal_prefix();
    let end = literal.iter().position(|byte| *byte == b':')?;
    String::from_utf8(literal[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_removal_is_written_down_once() {
        let mut journal = Journal::new(false);
        for _ in 0..3 {
            journal.push(Target::Key(Key::raw("a:1")));
            journal.push(Target::Pattern(KeyPattern::new("a:*")));
        }
        assert_eq!(journal.len(), 2);
    }

    #[test]
    fn overflow_turns_into_everything_below_the_namespace() {
        let mut journal = Journal::new(true);
        for number in 0..50_000 {
            journal.push(Target::Key(Key::raw(format!("a:{number}"))));
            assert!(journal.len() <= MAX_KEYS);
        }
        assert_eq!(journal.take(1), [Entry::Target(Target::Everything)]);
        journal.done(1);
        assert!(journal.is_empty());
    }

    #[test]
    fn overflow_without_a_namespace_keeps_to_the_prefixes_it_was_told() {
        let mut journal = Journal::new(false);
        journal.push(Target::Pattern(KeyPattern::new("list:org=a*")));
        journal.push(Target::Pattern(KeyPattern::new("an*")));
        for number in 0..50_000 {
            journal.push(Target::Key(Key::raw(format!("a:{number}"))));
            assert!(journal.len() <= MAX_KEYS + 2);
        }
        let entries = journal.take(1);
        let under = HashSet::from(["a".into(), "list".into()]);
        assert_eq!(
            entries,
            [
                Entry::Target(Target::Pattern(KeyPattern::new("an*"))),
                Entry::Under(Arc::new(under))
            ]
        );
        assert_eq!(journal.len(), 2, "it waits until it is done");
    }

    #[test]
    fn patterns_that_come_after_an_overflow_without_a_namespace_are_bounded_too() {
        let mut journal = Journal::new(false);
        for number in 0..=MAX_PATTERNS {
            journal.push(Target::Pattern(KeyPattern::new(format!("a:id={number}*"))));
        }
        assert!(journal.has_overflowed());
        for number in 0..1_000 {
            for pattern in [format!("b:id={number}*"), format!("an{number}*")] {
                journal.push(Target::Pattern(KeyPattern::new(pattern)));
            }
        }
        assert!(journal.len() <= MAX_PATTERNS + 3, "{}", journal.len());
        let entries = journal.take(1);
        let under = HashSet::from(["a".into(), "b".into()]);
        assert!(entries.contains(&Entry::Under(Arc::new(under))));
        let everything = Entry::Target(Target::Everything);
        assert!(
            entries.contains(&everything),
            "for those that name no prefix"
        );
    }

    #[test]
    fn prefixes_that_cannot_be_written_down_become_all_that_is_known() {
        let mut journal = Journal::new(false);
        for number in 0..=MAX_ROUGH + MAX_KEYS {
            journal.push(Target::Key(Key::raw(format!("p{number}:1"))));
        }
        assert!(journal.len() <= MAX_ROUGH + 1);
        let everything = Entry::Target(Target::Everything);
        assert!(journal.take(1).contains(&everything));
    }

    #[test]
    fn what_one_replayer_has_not_finished_the_next_one_takes() {
        let mut journal = Journal::new(true);
        journal.push(Target::Key(Key::raw("a:1")));
        assert_eq!(journal.take(1).len(), 1);
        journal.push(Target::Key(Key::raw("a:2")));
        assert_eq!(journal.take(2).len(), 2, "the first one stands still");
        journal.done(1);
        assert_eq!(journal.len(), 2, "and has no say when it wakes up");
        journal.done(2);
        assert!(journal.is_empty());
    }
}
