//! What makes many entries void in one step: the tokens of tags, and the epoch of the namespace.
//!
//! Beside the values lie random numbers, below the reserved prefix:
//!
//! * `tag:<hash>`, the *token* of a tag. An entry carries the tokens that its load saw before it began. A token that is
//!   not there, or is another one, makes the entry a miss, and no fallback either. To invalidate a tag is to remove its
//!   token; whoever needs one and finds none makes a new one. No clocks, nothing that grows with the entries, and what
//!   is lost (evicted, expired, gone with a server) makes entries void instead of valid.
//! * `epoch`, the same for the whole namespace, in two halves. To remove everything is to remove it. To let everything
//!   go stale is to change the second half: entries of the old one can still be fallen back on.
//! * `tags`, a number that goes with every invalidation of any tag: the *counter*.
//!
//! # Tags that a load brings
//!
//! Their tokens cannot be read before the load, since nobody knows which they are. What is read before is the counter,
//! and after the load the tokens and the counter once more, in one step. If the counter is the same, no tag was
//! invalidated between the two, so the tokens are those from before the load. For that, the counter has to change **no
//! later than** the token: with the token first, a load could read the counter, see old data, and find the new token
//! beside a counter that has not changed yet. Both are removed by one command, the counter named first, so it holds on a
//! server that does this in one step, and on one that does it one by one. A token that has to be made is made before the
//! counter is read for the last time, for the same reason.
//!
//! # What is known here
//!
//! Where the backend tells of changes, tokens and epoch are remembered, so that a hit is one plain read. What is known
//! when the reply to a read is there was so when the read was sent (see [`super::watch`]). Only what was *read* is
//! remembered: what this process has made is told to it as a change, like any other.
//!
//! What is remembered is read again from time to time, along with a value and at no further cost: a server that evicts
//! what was not used for long must not take the epoch for that.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::join::{join, join_all};
use super::sweep::RESERVED;
use super::watch::Sequences;
use super::{Budget, FullKey, Tier, as_str};
use crate::backend::{SetOutcome, When};
use crate::error::Error;
use crate::key::Key;
use crate::tag::TagId;
use crate::target::Target;
use crate::wire::{About, TagToken};

/// How long a token lives that nobody invalidates. Its end is an invalidation like any other.
const TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// The epoch has to outlive every entry.
const EPOCH_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How often what is known is read again, with a value.
const EPOCH_AGE: Duration = Duration::from_secs(1);
const TOKEN_AGE: Duration = Duration::from_secs(10);
/// More tokens than this are not remembered. Where there are, some are forgotten, whichever.
const MAX_KNOWN: usize = 100_000;
const AT_A_TIME: usize = 1_000;
/// How often a change of the epoch may lose to another one before it becomes a removal.
const ATTEMPTS: usize = 4;

/// What is known of the backend without asking it.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: RwLock<Known>,
    /// Numbers that change when something is forgotten, under the lock: what was asked before is not remembered after.
    sequences: Sequences,
}

#[derive(Debug, Default)]
struct Known {
    /// How many things have been remembered.
    remembered: u64,
    epoch: Option<Fact<u64>>,
    counter: Option<Fact<u128>>,
    tags: HashMap<TagId, Fact<u128>>,
}

#[derive(Debug, Clone, Copy)]
struct Fact<T> {
    value: T,
    /// The how many-eth thing it was that was remembered, when it was remembered first.
    number: u64,
    read_at: Instant,
}

/// What the replies to one call have told; the inner `None` is "there is none".
#[derive(Debug, Default)]
pub(crate) struct Seen {
    epoch: Option<Option<u64>>,
    counter: Option<Option<u128>>,
    tags: SmallVec<[(TagId, Option<u128>); 2]>,
}

/// What an entry carries: all of it was read before the load began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub(crate) epoch: u64,
    pub(crate) tags: SmallVec<[TagToken; 2]>,
    counter: Option<u128>,
    /// How much was remembered by then.
    remembered: u64,
}

/// What is to be asked, or made.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Tag(TagId),
    Counter,
    Epoch,
}

impl Seen {
    fn tag(&self, tag: TagId) -> Option<Option<u128>> {
        self.tags
            .iter()
            .find(|(other, _)| *other == tag)
            .map(|(_, token)| *token)
    }

    fn note(&mut self, name: &Name, found: Option<&[u8]>) {
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
    fn remember(&mut self, name: &Name, found: Option<&[u8]>, now: Instant) {
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
    fn make_room(&mut self) -> Vec<TagId> {
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

    fn is_due(&self, age: Duration) -> bool {
        self.read_at.elapsed() >= age
    }
}

impl Tokens {
    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(super) fn forget_all(&self) {
        let mut known = self.write();
        self.sequences.advance_all();
        *known = Known {
            remembered: known.remembered,
            ..Known::default()
        };
    }

    /// Forgets one thing; `true` if it was known.
    fn forget(&self, name: &Name) -> bool {
        let mut known = self.write();
        self.sequences.advance(name.hash());
        match name {
            Name::Tag(tag) => known.tags.remove(tag).is_some(),
            Name::Counter => known.counter.take().is_some(),
            Name::Epoch => known.epoch.take().is_some(),
        }
    }

    /// To be taken before asking; what was forgotten since is not remembered.
    fn before_asking(&self, names: &[Name]) -> SmallVec<[u64; 4]> {
        let number = |name: &Name| self.sequences.of(name.hash());
        names.iter().map(number).collect()
    }

    /// Remembers what was read, each with the number from before it was asked for. Returns tags that were forgotten for
    /// lack of room.
    fn remember<'n>(
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
    fn hash(&self) -> u64 {
        match self {
            Self::Tag(tag) => tag.0,
            Self::Counter => 1 << 40,
            Self::Epoch => 2 << 40,
        }
    }
}

impl Tier {
    /// The value under `key`, with what is not known of the epoch and of `tags`: one command.
    pub(crate) async fn look_up(
        &self,
        key: &Key,
        tags: &[TagId],
        budget: &mut Budget,
    ) -> Result<(Option<Bytes>, Seen), Error> {
        let names = self.worth_asking(tags);
        if names.is_empty() {
            return Ok((self.get(key, budget).await?, Seen::default()));
        }
        let (mut found, seen) = self.read_all(&[key], &names, budget).await?;
        Ok((found.pop().flatten(), seen))
    }

    /// The values under `keys`, with what is not known of the epoch and of the tags that they have.
    pub(crate) async fn look_up_many(
        &self,
        keys: &[&Key],
        budget: &mut Budget,
    ) -> Result<(Vec<Option<Bytes>>, Seen), Error> {
        self.read_all(keys, &self.worth_asking(&[]), budget).await
    }

    /// Asks for what is not known of these tags and has not been seen, in one command.
    pub(crate) async fn learn(
        &self,
        tags: impl Iterator<Item = TagId>,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let mut names: Vec<Name> = Vec::new();
        self.tokens.read(|known| {
            if self.has_epoch() && seen.epoch.is_none() && known.epoch.is_none() {
                names.push(Name::Epoch);
            }
            for tag in tags {
                if seen.tag(tag).is_none()
                    && !known.tags.contains_key(&tag)
                    && !names.contains(&Name::Tag(tag))
                {
                    names.push(Name::Tag(tag));
                }
            }
        });
        if !names.is_empty() {
            let (_, more) = self.read_all(&[], &names, budget).await?;
            seen.epoch = seen.epoch.or(more.epoch);
            seen.tags.extend(more.tags);
        }
        Ok(())
    }

    /// Whether an entry still counts. One that was expired by a change of the epoch, and can be fallen back on, has
    /// `about` changed so that it is no longer fresh.
    ///
    /// One more round trip for tags that are neither known nor seen.
    pub(crate) async fn admits(
        &self,
        about: &mut About,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        let tags = || about.tags.iter().map(|tag| TagId(tag.tag));
        if tags().any(|tag| self.flights.tags().is_standing(tag)) {
            // What is known is just being changed.
            return Ok(false);
        }
        self.learn(tags(), seen, budget).await?;
        let (epoch, is_current) = self.tokens.read(|known| {
            let epoch = seen
                .epoch
                .unwrap_or_else(|| known.epoch.map(|fact| fact.value));
            let is_current = about.tags.iter().all(|tag| {
                let id = TagId(tag.tag);
                let token = seen
                    .tag(id)
                    .unwrap_or_else(|| known.tags.get(&id).map(|fact| fact.value));
                token == Some(tag.token)
            });
            (epoch, is_current)
        });
        if !is_current {
            return Ok(false);
        }
        if !self.has_epoch() || epoch == Some(about.epoch) {
            return Ok(true);
        }
        let times = &mut about.times;
        if epoch.is_none_or(|epoch| removal_half(epoch) != removal_half(about.epoch))
            || times.kept_until <= times.fresh_until
        {
            return Ok(false);
        }
        times.fresh_until = times.created;
        Ok(true)
    }

    /// What an entry under `tags` has to carry whose load begins after this; makes what is not there. Only a load that
    /// may bring tags of its own needs the counter.
    pub(crate) async fn label(
        &self,
        tags: &[TagId],
        with_counter: bool,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<Labels, Error> {
        let mut names: Vec<Name> = Vec::new();
        let remembered = self.tokens.read(|known| {
            if self.has_epoch() && seen.epoch.flatten().is_none() {
                match known.epoch {
                    Some(fact) if seen.epoch.is_none() => seen.epoch = Some(Some(fact.value)),
                    _ => names.push(Name::Epoch),
                }
            }
            if with_counter && seen.counter.flatten().is_none() {
                match known.counter {
                    Some(fact) if seen.counter.is_none() => seen.counter = Some(Some(fact.value)),
                    _ => names.push(Name::Counter),
                }
            }
            for &tag in tags {
                match (seen.tag(tag), known.tags.get(&tag)) {
                    (Some(Some(_)), _) => {}
                    (None, Some(fact)) => seen.tags.push((tag, Some(fact.value))),
                    _ => names.push(Name::Tag(tag)),
                }
            }
            known.remembered
        });
        self.make(&names, seen, budget).await?;
        let tokens = tags.iter().filter_map(|tag| {
            let token = seen.tag(*tag).flatten()?;
            Some(TagToken { tag: tag.0, token })
        });
        Ok(Labels {
            epoch: seen.epoch.flatten().unwrap_or_default(),
            tags: tokens.collect(),
            counter: seen.counter.flatten(),
            remembered,
        })
    }

    /// The tokens of tags that a load has brought, which began after `labels` were read; `None` where one of them may
    /// have been invalidated since.
    pub(crate) async fn label_more(
        &self,
        labels: &Labels,
        more: &[TagId],
        budget: &mut Budget,
    ) -> Result<Option<SmallVec<[TagToken; 2]>>, Error> {
        // Known then, and known now to be the same.
        let known: Option<SmallVec<[TagToken; 2]>> = self.tokens.read(|known| {
            more.iter()
                .map(|tag| {
                    let fact = known.tags.get(tag)?;
                    let token = fact.value;
                    (fact.number <= labels.remembered).then_some(TagToken { tag: tag.0, token })
                })
                .collect()
        });
        if known.is_some() {
            return Ok(known);
        }
        let mut names: Vec<Name> = more.iter().copied().map(Name::Tag).collect();
        names.push(Name::Counter);
        let (_, mut seen) = self.read_all(&[], &names, budget).await?;
        let has_moved =
            |seen: &Seen| labels.counter.is_none() || seen.counter.flatten() != labels.counter;
        if has_moved(&seen) {
            return Ok(None);
        }
        names.retain(|name| matches!(name, Name::Tag(tag) if seen.tag(*tag).flatten().is_none()));
        if !names.is_empty() {
            self.make(&names, &mut seen, budget).await?;
            let (_, last) = self.read_all(&[], &[Name::Counter], budget).await?;
            if has_moved(&last) {
                return Ok(None);
            }
        }
        let tokens = more.iter().map(|tag| {
            let token = seen.tag(*tag).flatten()?;
            Some(TagToken { tag: tag.0, token })
        });
        Ok(tokens.collect())
    }

    /// What has to be removed to do what `targets` say of tags and of everything: the counter before the tokens.
    pub(super) fn reserved_keys(&self, targets: &[Target]) -> Vec<FullKey> {
        let names = self.names(targets);
        names.iter().map(|name| self.reserved_key(name)).collect()
    }

    fn names(&self, targets: &[Target]) -> Vec<Name> {
        let has_tags = targets
            .iter()
            .any(|target| matches!(target, Target::Tag(_)));
        let named = targets.iter().filter_map(|target| match target {
            Target::Tag(tag) => Some(Name::Tag(*tag)),
            Target::Everything if self.has_epoch() => Some(Name::Epoch),
            _ => None,
        });
        has_tags
            .then_some(Name::Counter)
            .into_iter()
            .chain(named)
            .collect()
    }

    /// Forgets what `targets` change. Before they are done, and after: in between, others may have read what was there.
    pub(super) fn forget_tokens(&self, targets: &[Target]) {
        for name in self.names(targets) {
            self.tokens.forget(&name);
        }
        if targets.contains(&Target::Freshness) {
            self.tokens.forget(&Name::Epoch);
        }
    }

    /// Lets everything in the namespace go stale.
    pub(super) async fn expire_everything(&self) -> Result<(), Error> {
        let key = self.reserved_key(&Name::Epoch);
        let key = as_str(&key);
        for _ in 0..ATTEMPTS {
            if !self.compares() {
                break;
            }
            let budget = &mut self.budget();
            let Some(found) = self.run(budget, self.backend.get(key)).await? else {
                // Nothing counts.
                return Ok(());
            };
            let changed = (removal_half(epoch_of(&found)) << 32) | u64::from(fastrand::u32(1..));
            let when = When::Matches(&found);
            let value = Bytes::copy_from_slice(&changed.to_be_bytes());
            let set = self.backend.set(key, value, EPOCH_TTL, when);
            if self.run(budget, set).await? == SetOutcome::Stored {
                return Ok(());
            }
        }
        // A backend that cannot compare could bring back what another process is just removing.
        self.run(&mut self.budget(), self.backend.remove(&[key]))
            .await
            .map(drop)
    }

    /// A key below the reserved prefix was changed, by whomever: `name` is what stands behind it.
    pub(super) fn token_changed(&self, name: &[u8]) {
        match name {
            b"epoch" => {
                if self.tokens.forget(&Name::Epoch) {
                    // What is being loaded would be void, and so is what L1 holds.
                    drop(self.flights.raise(Target::Everything));
                    self.empty_l1();
                }
            }
            b"tags" => drop(self.tokens.forget(&Name::Counter)),
            _ => {
                if let Some(tag) = tag_of(name)
                    && self.tokens.forget(&Name::Tag(tag))
                {
                    drop(self.flights.raise(Target::Tag(tag)));
                }
            }
        }
    }

    /// Whether there is an epoch: all that lies below a namespace is this cache's own.
    pub(super) fn has_epoch(&self) -> bool {
        self.config.namespace.is_some()
    }

    /// What a read had better bring along: what is not known, or not for long.
    fn worth_asking(&self, tags: &[TagId]) -> SmallVec<[Name; 2]> {
        let mut names = SmallVec::new();
        if tags.is_empty() && !self.has_epoch() {
            return names;
        }
        self.tokens.read(|known| {
            for tag in tags {
                let fact = known.tags.get(tag);
                if fact.is_none_or(|fact| fact.is_due(TOKEN_AGE)) {
                    names.push(Name::Tag(*tag));
                }
            }
            if self.has_epoch() && known.epoch.is_none_or(|fact| fact.is_due(EPOCH_AGE)) {
                names.push(Name::Epoch);
            }
        });
        names
    }

    /// Reads values and names in one command, and remembers what it may of the names.
    async fn read_all(
        &self,
        keys: &[&Key],
        names: &[Name],
        budget: &mut Budget,
    ) -> Result<(Vec<Option<Bytes>>, Seen), Error> {
        let asked = self.tokens.before_asking(names);
        let full: Vec<FullKey> = keys
            .iter()
            .map(|key| self.full_key(key))
            .chain(names.iter().map(|name| self.reserved_key(name)))
            .collect();
        let full: Vec<&str> = full.iter().map(as_str).collect();
        let mut found = self.run(budget, self.backend.get_many(&full)).await?;
        let told = found.split_off(keys.len().min(found.len()));
        for (key, found) in keys.iter().zip(&found) {
            self.note_found(key, found.as_ref());
        }
        let mut seen = Seen::default();
        for (name, found) in names.iter().zip(&told) {
            seen.note(name, found.as_deref());
        }
        let told = told.iter().map(Option::as_deref);
        self.remember(names.iter().zip(asked).zip(told));
        Ok((found, seen))
    }

    /// Makes what is not there, all at once, and reads what is.
    async fn make(
        &self,
        names: &[Name],
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let asked = self.tokens.before_asking(names);
        let whole = budget.0;
        let made = names.iter().map(|name| async move {
            let key = self.reserved_key(name);
            let fresh = match name {
                Name::Epoch => Bytes::copy_from_slice(&fastrand::u64(1..).to_be_bytes()),
                _ => Bytes::copy_from_slice(&fastrand::u128(..).to_be_bytes()),
            };
            let ttl = match name {
                Name::Tag(_) => TOKEN_TTL,
                Name::Counter | Name::Epoch => EPOCH_TTL,
            };
            let mut budget = Budget(whole);
            let set = self
                .backend
                .set(as_str(&key), fresh.clone(), ttl, When::Absent);
            let outcome = self.run(&mut budget, set).await;
            (outcome, fresh, budget.0)
        });
        let mut read = Vec::new();
        let made = join_all(made).await;
        for ((name, asked), (outcome, fresh, left)) in names.iter().zip(asked).zip(made) {
            budget.0 = budget.0.min(left);
            match outcome? {
                SetOutcome::Stored | SetOutcome::Refused(None) => seen.note(name, Some(&fresh)),
                SetOutcome::Refused(Some(found)) => {
                    seen.note(name, Some(&found));
                    read.push((name, asked, found));
                }
            }
        }
        let read = read.iter();
        self.remember(read.map(|(name, asked, found)| ((*name, *asked), Some(&**found))));
        Ok(())
    }

    /// Writes a lease and sees to the labels of what its load will bring, at once.
    pub(super) async fn set_lease(
        &self,
        look: (&Key, &[TagId]),
        (lease, ttl): (Vec<u8>, Duration),
        when: When<'_>,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Result<(SetOutcome, Labels), Error> {
        let (key, tags) = look;
        let (mut one, mut other) = (Budget(budget.0), Budget(budget.0));
        let (outcome, labels) = join(
            self.set(key, lease, ttl, when, &mut one),
            self.label(tags, true, seen, &mut other),
        )
        .await;
        budget.0 = one.0.min(other.0);
        Ok((outcome?, labels?))
    }

    /// Whether tokens and epoch are known to be what an entry says, so that changes of them will be told. Where nothing is
    /// told at all there is nothing to know.
    pub(super) fn knows(&self, about: &About) -> bool {
        if !self.is_watching() {
            return true;
        }
        self.tokens.read(|known| {
            let epoch = known.epoch.map(|fact| fact.value);
            let tags = &about.tags;
            (!self.has_epoch() || epoch == Some(about.epoch))
                && tags.iter().all(|tag| {
                    let fact = known.tags.get(&TagId(tag.tag));
                    fact.is_some_and(|fact| fact.value == tag.token)
                })
        })
    }

    fn remember<'n>(&self, facts: impl Iterator<Item = ((&'n Name, u64), Option<&'n [u8]>)>) {
        if !self.is_watching() {
            return;
        }
        let forgotten = self.tokens.remember(facts);
        if self.l1.is_some() {
            // L1 holds only what changes are told of.
            for tag in forgotten {
                drop(self.flights.raise(Target::Tag(tag)));
            }
        }
    }

    fn reserved_key(&self, name: &Name) -> FullKey {
        let mut full = FullKey::new();
        if let Some(namespace) = &self.config.namespace {
            full.extend_from_slice(namespace.as_bytes());
            full.push(b':');
        }
        full.extend_from_slice(RESERVED.as_bytes());
        match name {
            Name::Tag(tag) => {
                full.extend_from_slice(b":tag:");
                full.extend_from_slice(format!("{:016x}", tag.0).as_bytes());
            }
            Name::Counter => full.extend_from_slice(b":tags"),
            Name::Epoch => full.extend_from_slice(b":epoch"),
        }
        full
    }
}

/// The tag whose token lies under this name.
fn tag_of(name: &[u8]) -> Option<TagId> {
    let digits = name.strip_prefix(b"tag:")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits, 16).ok().map(TagId)
}

fn removal_half(epoch: u64) -> u64 {
    epoch >> 32
}

/// Whatever lies there is a token: nobody but this library writes there, and if somebody does, it is a change.
fn token_of(found: &[u8]) -> u128 {
    u128::from_be_bytes(fitted(found))
}

fn epoch_of(found: &[u8]) -> u64 {
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
    fn a_name_says_which_tag_it_is() {
        assert_eq!(tag_of(b"tag:00000000000000ff"), Some(TagId(255)));
        for other in [
            &b"tag:"[..],
            b"tags",
            b"epoch",
            b"tag:x",
            b"run:1",
            b"tag:\xff",
        ] {
            assert_eq!(tag_of(other), None);
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
