//! [`Policy`]: what a call wants of the cache beside its key.

use std::time::Duration;

use crate::tag::{TagId, TagSet};
use crate::ttl::Ttl;

/// How long what a call loads may be used, under which tags, and what is done about it before and after. A plain [`Ttl`] is one.
///
/// ```
/// use std::time::Duration;
/// use dexter_cache::{Cache, Key, Policy, Ttl};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::io::Error> {
/// let cache = Cache::memory();
/// // For an hour after its minute is over, the value answers for a load that fails.
/// let policy = Policy::new(Ttl::secs(60)).stale(Duration::from_secs(3600));
/// let load = || async { Ok::<_, std::io::Error>(42) };
/// assert_eq!(cache.try_get_or_load(&Key::new("answer"), policy, load).await?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Policy {
    pub(crate) ttl: Ttl,
    pub(crate) tags: TagSet,
    pub(crate) stale: Duration,
    pub(crate) throttle: Option<Duration>,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) none_ttl: Option<Ttl>,
}

impl Policy {
    /// Values that are fresh for `ttl`, and gone after it.
    pub const fn new(ttl: Ttl) -> Self {
        Self {
            ttl,
            tags: TagSet::EMPTY,
            stale: Duration::ZERO,
            throttle: None,
            refresh_ahead: None,
            soft_timeout: None,
            hard_timeout: None,
            none_ttl: None,
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

    /// Keeps a value for `window` after its TTL, to answer with it where a load fails.
    ///
    /// A stale value never answers after its window, however often loads fail, nor after it was removed.
    pub const fn stale(mut self, window: Duration) -> Self {
        self.stale = window;
        self
    }

    /// How long no load is tried after one that failed over a stale value; the builder's
    /// [`throttle`](crate::CacheBuilder::throttle) if this is not said.
    pub const fn throttle(mut self, pause: Duration) -> Self {
        self.throttle = Some(pause);
        self
    }

    /// From this part of the TTL on, between 0 and 1, one caller has the value loaded anew in the background, and all go
    /// on getting the present one. Anything else turns it off.
    ///
    /// Acts where a load owns what it needs: in the `_detached` calls of [`Cache`](crate::Cache).
    pub const fn refresh_ahead(mut self, part: f64) -> Self {
        self.refresh_ahead = if part > 0.0 && part < 1.0 {
            Some(part)
        } else {
            None
        };
        self
    }

    /// Answers with a stale value, where there is one, when a load takes longer than that. The load goes on.
    ///
    /// Acts where a load owns what it needs: in the `_detached` calls of [`Cache`](crate::Cache).
    pub const fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.soft_timeout = Some(timeout);
        self
    }

    /// Answers with an error of kind [`LoadTimeout`](crate::ErrorKind::LoadTimeout) when a call takes longer than that. The
    /// load goes on.
    ///
    /// Acts in [`Cache::try_get_or_load_detached`](crate::Cache::try_get_or_load_detached), where there is an error type to
    /// say it with.
    pub const fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.hard_timeout = Some(timeout);
        self
    }

    /// How long it is remembered that there is nothing: what a load of
    /// [`get_or_load_many`](crate::Cache::get_or_load_many) leaves out. It is looked for again at every call if this is not
    /// said.
    ///
    /// In the calls for one key an `Option` is a value like others.
    pub const fn none_ttl(mut self, ttl: Ttl) -> Self {
        self.none_ttl = Some(ttl);
        self
    }

    /// One draw of how long a value lives.
    pub(crate) fn life(&self, ttl: Ttl, jitter: f64) -> Life {
        let fresh = ttl.drawn(jitter);
        Life {
            fresh,
            // What is not stored at all is not kept either.
            stale: if fresh.is_zero() {
                Duration::ZERO
            } else {
                self.stale
            },
            ahead: self.refresh_ahead.map(|part| {
                Duration::try_from_secs_f64(fresh.as_secs_f64() * part)
                    .map_or(fresh, |ahead| ahead.min(fresh))
            }),
        }
    }
}

impl From<Ttl> for Policy {
    fn from(ttl: Ttl) -> Self {
        Self::new(ttl)
    }
}

/// How long a value lives, drawn once for all who keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) fresh: Duration,
    /// How long it is kept after that.
    pub(crate) stale: Duration,
    /// When it is time to load it anew, in the background.
    pub(crate) ahead: Option<Duration>,
}

impl Life {
    pub(crate) const NONE: Self = Self {
        fresh: Duration::ZERO,
        stale: Duration::ZERO,
        ahead: None,
    };

    /// Fresh and stale together.
    pub(crate) fn kept(self) -> Duration {
        self.fresh.saturating_add(self.stale)
    }

    /// At most `limit` altogether, and not refreshed ahead.
    pub(crate) fn within(self, limit: Duration) -> Self {
        let fresh = self.fresh.min(limit);
        Self {
            fresh,
            stale: self.stale.min(limit.saturating_sub(fresh)),
            ahead: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scar_22_lives_do_not_overflow() {
        let policy = Policy::new(Ttl::from_duration(Duration::MAX))
            .stale(Duration::MAX)
            .refresh_ahead(0.999);
        let life = policy.life(policy.ttl, 0.0);
        assert_eq!(life.kept(), Duration::MAX);
        assert!(life.ahead <= Some(life.fresh));
        let short = life.within(Duration::from_secs(30));
        assert_eq!(
            (short.kept(), short.stale),
            (Duration::from_secs(30), Duration::ZERO)
        );
    }

    #[test]
    fn what_is_not_stored_is_not_kept() {
        let policy = Policy::new(Ttl::secs(0)).stale(Duration::from_secs(60));
        assert_eq!(policy.life(policy.ttl, 0.1).kept(), Duration::ZERO);
    }

    #[test]
    fn a_part_that_is_none_turns_refreshing_off() {
        for part in [0.0, 1.0, -1.0, 7.0, f64::NAN] {
            assert!(
                Policy::new(Ttl::secs(1))
                    .refresh_ahead(part)
                    .refresh_ahead
                    .is_none()
            );
        }
    }
}
