//! [`Policy`]: what a call wants of the cache beside its key.

use crate::tag::{TagId, TagSet};
use crate::ttl::Ttl;

/// How long what a call loads may be used, and under which tags. A plain [`Ttl`] is one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Policy {
    pub(crate) ttl: Ttl,
    pub(crate) tags: TagSet,
}

impl Policy {
    /// Values that are fresh for `ttl`, and gone after it.
    pub const fn new(ttl: Ttl) -> Self {
        Self {
            ttl,
            tags: TagSet::EMPTY,
        }
    }

    /// Puts a tag on what is stored: a label by which a group of entries is invalidated in one step.
    ///
    /// An entry has the tags of the call that loaded it. A tag is any text; its length costs nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), dexter_cache::Error> {
    /// use dexter_cache::{Cache, Key, Policy, Ttl};
    ///
    /// let cache = Cache::memory();
    /// let key = Key::new("issues").part("project", "web");
    /// let policy = Policy::new(Ttl::secs(60)).tag("project:web").tag("issues");
    /// assert_eq!(cache.get_or_load(&key, policy.clone(), || async { 1 }).await, 1);
    /// cache.invalidate_tag("project:web").await?;
    /// assert_eq!(cache.get_or_load(&key, policy, || async { 2 }).await, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.tags.add(TagId::of(tag.as_ref()));
        self
    }

    /// Puts several tags on what is stored; see [`tag`](Self::tag).
    pub fn tags<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }
}

impl From<Ttl> for Policy {
    fn from(ttl: Ttl) -> Self {
        Self::new(ttl)
    }
}
