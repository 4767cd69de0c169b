//! [`Cache`]: the handle that everything goes through.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::builder::CacheBuilder;
use crate::error::Error;
use crate::global::{self, Scope};
use crate::health::Health;
use crate::inner::Inner;
use crate::key::Key;
use crate::pattern::KeyPattern;
use crate::stats::Stats;
use crate::tag::TagId;
use crate::target::{Clear, Invalidated, Target};
use crate::telemetry::TARGET;

/// How long [`Cache::close`] waits for work under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A cache: in this process's memory, or in a shared backend with memory as what it falls back on.
///
/// A handle is a counted pointer: clone it freely. See the [crate's front page](crate) for the whole picture.
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Inner>);

impl Cache {
    /// A cache in this process's memory alone, for at most 100,000 entries.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use dexter_cache::{Cache, Key, Ttl};
    ///
    /// let cache = Cache::memory();
    /// let key = Key::new("square").part("of", &7);
    /// let value = cache.get_or_load(&key, Ttl::secs(60), || async { 7 * 7 }).await;
    /// assert_eq!(value, 49);
    /// # }
    /// ```
    pub fn memory() -> Self {
        CacheBuilder::default().build_memory()
    }

    /// Options; see [`CacheBuilder`].
    pub fn builder() -> CacheBuilder {
        CacheBuilder::default()
    }

    /// A cache as the environment says.
    ///
    /// `REDIS_URL` names the backend. Unset it is `redis://localhost:6379/0`; empty or `memory` means memory alone.
    /// `DEXTER_CACHE=off` makes every cached function simply run.
    ///
    /// A Redis that cannot be reached is no error: memory serves until it can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where `REDIS_URL` cannot be used; the message says what to write, and no password.
    pub async fn from_env() -> Result<Self, Error> {
        CacheBuilder::from_env()?.build().await
    }

    /// Makes this the cache of every `#[cached]` function that names none and runs in no [`scope`](Self::scope).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyInstalled`](crate::ErrorKind::AlreadyInstalled) where a cache is installed: it stays.
    pub fn install(&self) -> Result<(), Error> {
        global::install(self.clone())
    }

    /// The cache that a bare `#[cached]` would use here: the scope's, else the installed one.
    pub fn current() -> Option<Self> {
        Scope::with(|scope| scope.and_then(|scope| scope.cache.clone()))
            .or_else(|| global::installed().cloned())
    }

    /// Runs `future` with this as its cache, instead of the installed one. What tests use.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use dexter_cache::Cache;
    ///
    /// let cache = Cache::memory();
    /// cache.scope(async { assert!(Cache::current().is_some()) }).await;
    /// assert!(Cache::current().is_none());
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Scope {
            cache: Some(self.clone()),
            ..Scope::current()
        }
        .enter(future)
    }

    /// Removes one key, from memory and from the backend. Loads of it that are under way are not stored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) where the backend refuses it. One that is away is no error: it
    /// makes the removal [`Journaled`](crate::Reach::Journaled).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the removal goes on although the caller is dropped.
    ///
    /// # Cost
    ///
    /// One command.
    pub async fn remove(&self, key: &Key) -> Result<Invalidated, Error> {
        self.invalidate_all(vec![Target::Key(key.clone())]).await
    }

    /// Removes several keys; see [`remove`](Self::remove).
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove).
    ///
    /// # Cancel safety
    ///
    /// As for [`remove`](Self::remove).
    ///
    /// # Cost
    ///
    /// One command for every 500 keys.
    pub async fn remove_many(&self, keys: &[Key]) -> Result<Invalidated, Error> {
        self.invalidate_all(keys.iter().cloned().map(Target::Key).collect())
            .await
    }

    /// Removes every key that `pattern` matches, and fences the loads of such keys that are under way.
    ///
    /// Without a namespace, a pattern that begins with a wildcard removes only keys under prefixes that this process
    /// has used: it has written a key there, or has read one that this library wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the backend cannot enumerate its keys; nothing is removed then.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the sweep goes on although the caller is dropped.
    ///
    /// # Cost
    ///
    /// In Redis a sweep walks the *whole* database, a thousand keys a round trip. One runs at a time in a process.
    pub async fn invalidate(&self, pattern: &KeyPattern) -> Result<Invalidated, Error> {
        self.invalidate_all(vec![Target::Pattern(pattern.clone())])
            .await
    }

    /// Invalidates every entry that bears `tag`, in one step, however many there are. Loads under way whose value will
    /// bear it are not stored.
    ///
    /// The entries themselves are not looked for: each is a miss from now on, and goes with its TTL or when somebody
    /// asks for it. So they are not counted either, and [`removed`](Invalidated::removed) is 0.
    ///
    /// A tag is any text. What an attribute fills into a tag, as into `"issue:{id}"`, is percent-encoded as in keys:
    /// numbers and plain words stay as they are.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), dexter_cache::Error> {
    /// use dexter_cache::{Cache, Key, Policy, Ttl};
    ///
    /// let cache = Cache::memory();
    /// let policy = Policy::new(Ttl::secs(60)).tag("project:web");
    /// for page in 0..3 {
    ///     let key = Key::new("list_issues").part("page", &page);
    ///     cache.set(&key, &"…".to_owned(), policy.clone()).await?;
    /// }
    /// cache.invalidate_tag("project:web").await?;
    /// assert_eq!(cache.get::<String>(&Key::new("list_issues").part("page", &1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove).
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on although the caller is dropped.
    ///
    /// # Cost
    ///
    /// One command.
    pub async fn invalidate_tag(&self, tag: impl AsRef<str>) -> Result<Invalidated, Error> {
        self.invalidate_tags([tag]).await
    }

    /// Invalidates every entry that bears one of these tags; see [`invalidate_tag`](Self::invalidate_tag).
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove).
    ///
    /// # Cancel safety
    ///
    /// As for [`remove`](Self::remove).
    ///
    /// # Cost
    ///
    /// One command for every 500 tags.
    pub async fn invalidate_tags<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<Invalidated, Error> {
        let tags = tags.into_iter().map(|tag| TagId::of(tag.as_ref()));
        self.invalidate_all(tags.map(Target::Tag).collect()).await
    }

    /// Removes everything that this cache has stored: the namespace, or without one, what lies under the prefixes that
    /// this process has used (see [`invalidate`](Self::invalidate)). Never anything else, and never with `FLUSHDB`.
    ///
    /// With a namespace, entries in the backend are not looked for: they are void from now on, and go with their TTL or
    /// when somebody asks for them. [`removed`](Invalidated::removed) is then what this process held in memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) as for [`invalidate`](Self::invalidate), where there is no
    /// namespace.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on although the caller is dropped.
    ///
    /// # Cost
    ///
    /// With a namespace one command, without one a sweep of the whole database.
    pub async fn clear(&self) -> Result<Invalidated, Error> {
        self.clear_with(Clear::Remove).await
    }

    /// As [`clear`](Self::clear), where [`Clear::Expire`] keeps what can be fallen back on when a load fails. In front of a
    /// backend that needs a namespace; without one, [`Clear::Expire`] removes all the same.
    ///
    /// # Errors
    ///
    /// As for [`clear`](Self::clear).
    ///
    /// # Cancel safety
    ///
    /// As for [`clear`](Self::clear).
    ///
    /// # Cost
    ///
    /// As for [`clear`](Self::clear); to expire takes two round trips.
    pub async fn clear_with(&self, how: Clear) -> Result<Invalidated, Error> {
        let target = match how {
            Clear::Remove => Target::Everything,
            Clear::Expire => Target::Freshness,
        };
        self.invalidate_all(vec![target]).await
    }

    /// What has happened so far, per prefix.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// How the cache is: which store serves, and what waits to be replayed. Asks nobody.
    pub fn health(&self) -> Health {
        self.0.health()
    }

    /// Makes cached functions simply run, until [`enable`](Self::enable). Invalidations still act, so that nothing
    /// stale is found afterwards.
    pub fn disable(&self) {
        self.0.off.store(true, Ordering::Relaxed);
    }

    /// Ends what [`disable`](Self::disable) began.
    ///
    /// A cache that was [closed](Self::close) stays closed.
    pub fn enable(&self) {
        if !self.0.closed.load(Ordering::Relaxed) {
            self.0.off.store(false, Ordering::Relaxed);
        }
    }

    /// Whether calls use the cache.
    pub fn is_enabled(&self) -> bool {
        !self.0.is_off()
    }

    /// Waits for fills and invalidations under way, at most five seconds, and lets go of the backend. Cached functions
    /// simply run from then on.
    ///
    /// A removal that is made later acts in this process. It is [`Journaled`](crate::Reach::Journaled), and nobody replays
    /// it.
    ///
    /// Returns `true` if all was done. `false` means that work was cut off or that the journal still held removals:
    /// other processes may see what they would have removed, until its TTL ends.
    ///
    /// # Cancel safety
    ///
    /// Where it is dropped, cached functions simply run, and the connection to the backend stays until it is called again
    /// or the last handle is dropped.
    pub async fn close(&self) -> bool {
        let inner = &self.0;
        inner.off.store(true, Ordering::Relaxed);
        let drained = inner.background.drain(CLOSE_PATIENCE).await;
        inner.closed.store(true, Ordering::Relaxed);
        let mut journaled = 0;
        if let Some(tier) = &inner.tier {
            journaled = tier.journal_len();
            tier.close();
        }
        if !drained || journaled > 0 {
            tracing::warn!(target: TARGET, drained, journaled, "the cache was closed with work left");
        }
        drained && journaled == 0
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("health", &self.health())
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}
