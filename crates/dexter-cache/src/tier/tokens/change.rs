//! Invalidating by tag and by epoch, and being told that somebody else has.

use bytes::Bytes;

use super::ask::EPOCH_TTL;
use super::known::{Name, epoch_of, removal_half};
use crate::backend::{SetOutcome, When};
use crate::error::{Error, ErrorKind};
use crate::tag::TagId;
use crate::target::Target;
use crate::tier::{FullKey, Tier, as_str};

/// How often a change of the epoch may lose to another one before it becomes a removal.
const ATTEMPTS: usize = 4;

impl Tier {
    /// What has to be removed to do what `targets` say of tags and of everything: the counter before the tokens.
    pub(in crate::tier) fn reserved_keys(&self, targets: &[Target]) -> Vec<FullKey> {
        let names = self.names(targets);
        names.iter().map(|name| self.reserved_key(name)).collect()
    }

    pub(super) fn names(&self, targets: &[Target]) -> Vec<Name> {
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
    pub(in crate::tier) fn forget_tokens(&self, targets: &[Target]) {
        for name in self.names(targets) {
            self.tokens.forget(&name);
        }
        if targets.contains(&Target::Freshness) {
            self.tokens.forget(&Name::Epoch);
        }
    }

    /// Lets everything in the namespace go stale.
    pub(in crate::tier) async fn expire_everything(&self) -> Result<(), Error> {
        let key = self.reserved_key(&Name::Epoch);
        let key = as_str(&key);
        let budget = &mut self.budget();
        for _ in 0..ATTEMPTS {
            if !self.compares() {
                break;
            }
            let Some(found) = self.run(budget, || self.backend.get(key)).await? else {
                // Nothing counts.
                return Ok(());
            };
            let changed = (removal_half(epoch_of(&found)) << 32) | u64::from(fastrand::u32(1..));
            let when = When::Matches(&found);
            let value = Bytes::copy_from_slice(&changed.to_be_bytes());
            let set = self.backend.set(key, value, EPOCH_TTL, when);
            match self.run(budget, || set).await {
                Ok(SetOutcome::Stored) => return Ok(()),
                Ok(SetOutcome::Refused(_)) => {}
                Err(error) if error.kind() == ErrorKind::Denied => break,
                Err(error) => return Err(error),
            }
        }
        // A backend that cannot compare could bring back what another process is just removing.
        let keys = [key];
        self.run(budget, || self.backend.remove(&keys))
            .await
            .map(drop)
    }

    /// A key below the reserved prefix was changed, by whomever: `name` is what stands behind it.
    pub(in crate::tier) fn token_changed(&self, name: &[u8]) {
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
}

/// The tag whose token lies under this name.
fn tag_of(name: &[u8]) -> Option<TagId> {
    let digits = name.strip_prefix(b"tag:")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits, 16).ok().map(TagId)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
