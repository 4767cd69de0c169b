//! What an entry carries, and whether it still counts.

use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Duration;

use super::known::{Name, Seen, removal_half};
use crate::backend::{SetOutcome, When};
use crate::error::Error;
use crate::key::Key;
use crate::tag::TagId;
use crate::tier::join::join;
use crate::tier::{Budget, Tier};
use crate::wire::{About, TagToken};

/// What an entry carries: all of it was read before the load began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub(crate) epoch: u64,
    pub(crate) tags: SmallVec<[TagToken; 2]>,
    counter: Option<u128>,
    /// How much was remembered by then.
    remembered: u64,
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
        // In a box of its own: the future of a plain read is made for every hit.
        let keys = [key];
        let (mut found, seen) = Box::pin(self.read_all(&keys, &names, budget)).await?;
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
        if !self.is_known(about, seen) {
            let tags = about.tags.iter().map(|tag| TagId(tag.tag));
            self.learn(tags, seen, budget).await?;
        }
        Ok(self.counts(about, seen))
    }

    /// Whether nothing has to be asked to tell whether an entry still [counts](Self::counts).
    pub(crate) fn is_known(&self, about: &About, seen: &Seen) -> bool {
        if about.tags.is_empty() && !self.has_epoch() {
            return true;
        }
        let mut tags = about.tags.iter().map(|tag| TagId(tag.tag));
        self.tokens.read(|known| {
            tags.all(|tag| seen.tag(tag).is_some() || known.tags.contains_key(&tag))
                && (!self.has_epoch() || seen.epoch.is_some() || known.epoch.is_some())
        })
    }

    /// [`admits`](Self::admits) by what is known or seen; what is neither is taken for gone.
    pub(crate) fn counts(&self, about: &mut About, seen: &Seen) -> bool {
        if about.tags.is_empty() && !self.has_epoch() {
            return true;
        }
        let mut tags = about.tags.iter().map(|tag| TagId(tag.tag));
        if tags.any(|tag| self.flights.tags().is_standing(tag)) {
            // What is known is just being changed.
            return false;
        }
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
            return false;
        }
        if !self.has_epoch() || epoch == Some(about.epoch) {
            return true;
        }
        let times = &mut about.times;
        if epoch.is_none_or(|epoch| removal_half(epoch) != removal_half(about.epoch))
            || times.kept_until <= times.fresh_until
        {
            return false;
        }
        // By no clock: that of the process which stored it may be ahead of this one's.
        times.fresh_until = 0;
        true
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

    /// Writes a lease and sees to the labels of what its load will bring, at once.
    pub(in crate::tier) async fn set_lease(
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
}
