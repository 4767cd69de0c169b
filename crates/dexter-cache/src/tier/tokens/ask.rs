//! Reading and making what lies below the reserved prefix, with the values or beside them.

use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::known::{Name, Seen};
use crate::backend::{SetOutcome, When};
use crate::error::Error;
use crate::key::Key;
use crate::tag::TagId;
use crate::target::Target;
use crate::tier::join::join_all;
use crate::tier::sweep::RESERVED;
use crate::tier::{Budget, FullKey, Tier, as_str};
use crate::wire::About;

/// How long a token lives that nobody invalidates. Its end is an invalidation like any other.
const TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// The epoch has to outlive every entry.
pub(super) const EPOCH_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How often what is known is read again, with a value.
const EPOCH_AGE: Duration = Duration::from_secs(1);
const TOKEN_AGE: Duration = Duration::from_secs(10);

impl Tier {
    /// Whether there is an epoch: all that lies below a namespace is this cache's own.
    pub(in crate::tier) fn has_epoch(&self) -> bool {
        self.config.namespace.is_some()
    }

    /// What a read had better bring along: what is not known, or not for long.
    pub(super) fn worth_asking(&self, tags: &[TagId]) -> SmallVec<[Name; 2]> {
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
    pub(super) async fn read_all(
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
        let mut found = self.run(budget, || self.backend.get_many(&full)).await?;
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
    pub(super) async fn make(
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
            let outcome = self.run(&mut budget, || set).await;
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

    /// Whether tokens and epoch are known to be what an entry says, so that changes of them will be told. Where nothing is
    /// told at all there is nothing to know.
    pub(in crate::tier) fn knows(&self, about: &About) -> bool {
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

    pub(super) fn remember<'n>(
        &self,
        facts: impl Iterator<Item = ((&'n Name, u64), Option<&'n [u8]>)>,
    ) {
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

    pub(super) fn reserved_key(&self, name: &Name) -> FullKey {
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
