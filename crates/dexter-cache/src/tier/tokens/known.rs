//! What is known and what was seen of tokens and epoch.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::tag::TagId;
use crate::tier::watch::Sequences;

/// More tokens than this are not remembered. Where there are, some are forgotten, whichever.
const MAX_KNOWN: usize = 100_000;
const AT_A_TIME: usize = 1_000;

/// What is known of the backend without asking it.
#[derive(Debug, Default)]
pub(in crate::tier) struct Tokens {
    known: RwLock<Known>,
    /// Numbers that change when something is forgotten, under the lock: what was asked before is not remembered after.
    sequences: Sequences,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    /// How many things have been remembered.
    pub(super) remembered: u64,
    pub(super) epoch: Option<Fact<u64>>,
    pub(super) counter: Option<Fact<u128>>,
    pub(super) tags: HashMap<TagId, Fact<u128>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Fact<T> {
    pub(super) value: T,
    /// The how many-eth thing it was that was remembered, when it was remembered first.
    pub(super) number: u64,
    read_at: Instant,
}

/// What the replies to one call have told; the inner `None` is "there is none".
#[derive(Debug, Default)]
#[expect(
    clippy::option_option,
    reason = "not asked, asked and not there, there"
)]
pub(crate) struct Seen {
    pub(super) epoch: Option<Option<u64>>,
    pub(super) counter: Option<Option<u128>>,
    pub(super) tags: SmallVec<[(TagId, Option<u128>); 2]>,
}

/// What is to be asked, or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Tag(TagId),
    Counter,
    Epoch,
}

impl Seen {
    #[expect(clippy::option_option, reason = "as in the fields")]
    pub(super) fn tag(&self, tag: TagId) -> Option<Option<u128>> {
        self.tags
            .iter()
            .find(|(other, _)| *other == tag)
            .map(|(_, token)| *token)
    }

    pub(super) fn note(&mut self, name: &Name, found: Option<&[u8]>) {
        match name {
            Name::Tag(tag) => {
                self.tags.retain(|(other, _)| other != tag);
                self.tags.push((*tag, found.map(token_of)));
            }
            Name::Counter => self.counter = Some(found.map(token_of)),
            Name::Epoch => self.epoch = Some(found.map(epoch_of)),
        }
    }
}

impl Known {
    pub(super) fn remember(&mut self, name: &Name, found: Option<&[u8]>, now: Instant) {
        self.remembered += 1;
        let number = self.remembered;
        match (name, found) {
            (Name::Tag(tag), Some(found)) => {
                let fact = Fact::new(token_of(found), number, now);
                let fact = fact.or_as_known(self.tags.get(tag));
                self.tags.insert(*tag, fact);
            }
            (Name::Counter, Some(found)) => {
                let fact = Fact::new(token_of(found), number, now);
                self.counter = Some(fact.or_as_known(self.counter.as_ref()));
            }
            (Name::Epoch, Some(found)) => {
                let fact = Fact::new(epoch_of(found), number, now);
                self.epoch = Some(fact.or_as_known(self.epoch.as_ref()));
            }
            (_, None) => {}
        }
    }

    /// Forgets some tags if there are too many.
    pub(super) fn make_room(&mut self) -> Vec<TagId> {
        if self.tags.len() <= MAX_KNOWN {
            return Vec::new();
        }
        let some: Vec<TagId> = self.tags.keys().take(AT_A_TIME).copied().collect();
        for tag in &some {
            self.tags.remove(tag);
        }
        some
    }
}

impl<T: PartialEq + Copy> Fact<T> {
    fn new(value: T, number: u64, read_at: Instant) -> Self {
        Self {
            value,
            number,
            read_at,
        }
    }

    /// What was known already is not younger for having been read again.
    fn or_as_known(mut self, known: Option<&Self>) -> Self {
        if let Some(known) = known
            && known.value == self.value
        {
            self.number = known.number;
        }
        self
    }

    pub(super) fn is_due(&self, age: Duration) -> bool {
        self.read_at.elapsed() >= age
    }
}

impl Tokens {
    pub(super) fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(in crate::tier) fn forget_all(&self) {
        let mut known = self.write();
        self.sequences.advance_all();
        *known = Known {
            remembered: known.remembered,
            ..Known::default()
        };
    }

    /// Forgets one thing; `true` if it was known.
    pub(super) fn forget(&self, name: &Name) -> bool {
        let mut known = self.write();
        self.sequences.advance(name.hash());
        match name {
            Name::Tag(tag) => known.tags.remove(tag).is_some(),
            Name::Counter => known.counter.take().is_some(),
            Name::Epoch => known.epoch.take().is_some(),
        }
    }

    /// To be taken before asking; what was forgotten since is not remembered.
    pub(super) fn before_asking(&self, names: &[Name]) -> SmallVec<[u64; 4]> {
        let number = |name: &Name| self.sequences.of(name.hash());
        names.iter().map(number).collect()
    }

    /// Remembers what was read, each with the number from before it was asked for. Returns tags that were forgotten for
    /// lack of room.
    pub(super) fn remember<'n>(
        &self,
        facts: impl Iterator<Item = ((&'n Name, u64), Option<&'n [u8]>)>,
    ) -> Vec<TagId> {
        let now = Instant::now();
        let mut known = self.write();
        for ((name, asked), found) in facts {
            if self.sequences.of(name.hash()) == asked {
                known.remember(name, found, now);
            }
        }
        known.make_room()
    }
}

impl Name {
    /// Any number will do: it says which of the [`Sequences`] is its own.
    pub(super) fn hash(&self) -> u64 {
        match self {
            Self::Tag(tag) => tag.0,
            Self::Counter => 1 << 40,
            Self::Epoch => 2 << 40,
        }
    }
}

pub(super) fn removal_half(epoch: u64) -> u64 {
    epoch >> 32
}

/// Whatever lies there is a token: nobody but this library writes there, and if somebody does, it is a change.
pub(super) fn token_of(found: &[u8]) -> u128 {
    u128::from_be_bytes(fitted(found))
}

pub(super) fn epoch_of(found: &[u8]) -> u64 {
    u64::from_be_bytes(fitted(found))
}

fn fitted<const N: usize>(found: &[u8]) -> [u8; N] {
    found.try_into().unwrap_or_else(|_| {
        let digest = Sha256::digest(found);
        let mut fitted = [0; N];
        fitted.copy_from_slice(&digest[..N]);
        fitted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_before_a_change_is_not_remembered_after_it() {
        let tokens = Tokens::default();
        let names = [Name::Epoch, Name::Counter];
        let before = tokens.before_asking(&names);
        assert!(!tokens.forget(&Name::Epoch));
        let after = tokens.before_asking(&names);
        assert!(after[0] != before[0] && after[1] == before[1]);
        tokens.forget_all();
        assert_ne!(tokens.before_asking(&names)[1], after[1]);
    }

    #[tokio::test]
    async fn what_is_read_again_is_not_younger_for_it() {
        let mut known = Known::default();
        let name = Name::Tag(TagId(1));
        let number = |known: &Known| known.tags[&TagId(1)].number;
        known.remember(&name, Some(&[1; 16]), Instant::now());
        let first = number(&known);
        known.remember(&name, Some(&[1; 16]), Instant::now());
        assert_eq!(number(&known), first);
        known.remember(&name, Some(&[2; 16]), Instant::now());
        assert!(number(&known) > first);
    }

    #[test]
    fn tokens_that_are_known_are_bounded() {
        let mut known = Known::default();
        let now = Instant::now();
        for tag in 0..3 * MAX_KNOWN as u64 {
            known.remember(&Name::Tag(TagId(tag)), Some(&[1; 16]), now);
            for forgotten in known.make_room() {
                assert!(!known.tags.contains_key(&forgotten));
            }
            assert!(known.tags.len() <= MAX_KNOWN);
        }
    }

    #[test]
    fn whatever_lies_there_is_some_token() {
        let tokens = [
            &b""[..],
            b"x",
            b"sixteen bytes...",
            b"more than sixteen bytes",
        ];
        let tokens = tokens.map(token_of);
        for (at, token) in tokens.iter().enumerate() {
            assert!(!tokens[..at].contains(token));
        }
    }
}
