//! [`Cache`]: the handle that everything goes through.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backend::memory::{Held, MemoryStore};
use crate::background::Background;
use crate::builder::CacheBuilder;
use crate::call::{self, Entered, Traits};
use crate::clock::Clock;
use crate::error::Error;
use crate::flight::Flights;
use crate::global::{self, Scope};
use crate::health::{Breaker, CacheMode, Health, Serving};
use crate::key::Key;
use crate::load::{Detach, Inline};
use crate::pattern::KeyPattern;
use crate::policy::Policy;
use crate::shape::{CacheValue, Plain, ResultOf, Serde, Shape};
use crate::share::{Alone, Cloned, Late, Share, Sharing};
use crate::stats::{Counters, PrefixId, Stats};
use crate::tag::TagId;
use crate::target::{Clear, Invalidated, Target};
use crate::telemetry::TARGET;
use crate::tier::Tier;

/// How long [`Cache::close`] waits for work under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A cache: in this process's memory, or in a shared backend with memory as what it falls back on.
///
/// A handle is a counted pointer: clone it freely. See the [crate's front page](crate) for the whole picture.
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    /// What stays in this process: everything where there is no backend, values of `local` functions where there is.
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) tier: Option<Arc<Tier>>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) counters: Counters,
    pub(crate) background: Arc<Background>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    /// Loads that may run at a time while the backend is away.
    pub(crate) loads_while_away: Semaphore,
    pub(crate) off: AtomicBool,
    pub(crate) closed: AtomicBool,
    pub(crate) warned_too_large: AtomicBool,
    #[cfg(feature = "metrics")]
    pub(crate) meters: crate::meters::Meters,
}

/// What the builder decided about calls.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    #[cfg(feature = "metrics")]
    pub(crate) name: Arc<str>,
    pub(crate) jitter: f64,
    pub(crate) follow_timeout: Duration,
    pub(crate) throttle: Duration,
}

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

    /// The value under `key`, or what `load` brings, stored as `policy` says: a [`Ttl`](crate::Ttl) is one.
    ///
    /// One caller loads; others of the same key and type wait for it and share what it brings.
    ///
    /// # Panics
    ///
    /// Only where `load` does. Followers then load for themselves.
    ///
    /// # Cancel safety
    ///
    /// A caller that is dropped while it loads hands over to one that waits.
    ///
    /// # Cost
    ///
    /// A hit in memory: a hash, a look-up and a clone of the value. A hit in the backend: one round trip. A miss there:
    /// three at most, the last one behind the answer.
    pub async fn get_or_load<T, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> T
    where
        T: CacheValue,
        F: Future<Output = T>,
    {
        let shape = Plain::<T, Serde>::new();
        let miss = match self.enter(key, shape) {
            Entered::Hit(value) | Entered::Due(value, _) => return value,
            Entered::Miss(miss) => miss,
        };
        Box::pin(Inline.run(miss, shape, Alone, policy.into(), load)).await
    }

    /// As [`get_or_load`](Self::get_or_load), with a load that may fail. An error is never stored.
    ///
    /// Callers that wait for a load which fails load for themselves, a few at once. Where the error can be cloned,
    /// [`try_get_or_load_shared`](Self::try_get_or_load_shared) hands it to all of them instead.
    ///
    /// # Errors
    ///
    /// Those of `load`, and no others.
    pub async fn try_get_or_load<T, E, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        F: Future<Output = Result<T, E>>,
    {
        let shape = ResultOf::<T, E, Serde>::new();
        let miss = match self.enter(key, shape) {
            Entered::Hit(value) | Entered::Due(value, _) => return value,
            Entered::Miss(miss) => miss,
        };
        Box::pin(Inline.run(miss, shape, Alone, policy.into(), load)).await
    }

    /// As [`try_get_or_load`](Self::try_get_or_load), where all who wait for a load share its error, too.
    ///
    /// # Errors
    ///
    /// Those of `load`, this caller's or the one it waited for.
    pub async fn try_get_or_load_shared<T, E, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let shape = ResultOf::<T, E, Serde>::new();
        let miss = match self.enter(key, shape) {
            Entered::Hit(value) | Entered::Due(value, _) => return value,
            Entered::Miss(miss) => miss,
        };
        Box::pin(Inline.run(miss, shape, Cloned, policy.into(), load)).await
    }

    /// As [`get_or_load`](Self::get_or_load), with a load that runs in a task of its own: a caller that is dropped takes
    /// nothing with it, and all of the [`Policy`] acts but `hard_timeout`, which needs an error to say it with.
    ///
    /// The load carries the cache's scope and the `tracing` span, and no other task-local. `load` itself runs here, and only
    /// where it is needed.
    ///
    /// # Panics
    ///
    /// Where `load` does, or what it returns; or when the runtime ends meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The load goes on.
    ///
    /// # Cost
    ///
    /// As for [`get_or_load`](Self::get_or_load), and a task for each load.
    pub async fn get_or_load_detached<T, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> T
    where
        T: CacheValue,
        F: Future<Output = T> + Send + 'static,
    {
        self.run_detached(key, policy.into(), Plain::<T, Serde>::new(), Alone, load)
            .await
    }

    /// As [`get_or_load_detached`](Self::get_or_load_detached), with a load that may fail, and that may take too long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dexter_cache::{Cache, Error, ErrorKind, Key, Policy, Ttl};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let cache = Cache::memory();
    /// let policy = Policy::new(Ttl::secs(60)).hard_timeout(Duration::from_millis(5));
    /// let never = || async { std::future::pending::<Result<u32, Error>>().await };
    /// let late = cache.try_get_or_load_detached(&Key::new("late"), policy, never).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::LoadTimeout);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `load`; and, where the policy has a hard timeout, [`ErrorKind::LoadTimeout`](crate::ErrorKind::LoadTimeout).
    pub async fn try_get_or_load_detached<T, E, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        E: From<Error> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let shape = ResultOf::<T, E, Serde>::new();
        self.run_detached(key, policy.into(), shape, Sharing(Alone, Alone, Late), load)
            .await
    }

    async fn run_detached<R, S, H, F>(
        &self,
        key: &Key,
        policy: Policy,
        shape: S,
        share: H,
        load: impl FnOnce() -> F,
    ) -> R
    where
        R: Send + 'static,
        S: Shape<R> + 'static,
        H: Share<R>,
        F: Future<Output = R> + Send + 'static,
    {
        let prefix = PrefixId::of(key.prefix());
        let traits = Traits::default();
        let entered = Scope::with(|scope| {
            call::look::<R, S, true>(self, scope, prefix, traits, shape, || key)
        })
        .entered(prefix, traits, key);
        let miss = match entered {
            Entered::Hit(value) => return value,
            Entered::Due(value, miss) => {
                Detach.refresh(miss, shape, share, policy, load);
                return value;
            }
            Entered::Miss(miss) => miss,
        };
        Box::pin(Detach.run(miss, shape, share, policy, load)).await
    }

    fn enter<R, S: Shape<R>>(&self, key: &Key, shape: S) -> Entered<R, S::Value> {
        let prefix = PrefixId::of(key.prefix());
        let traits = Traits::default();
        Scope::with(|scope| call::look::<R, S, false>(self, scope, prefix, traits, shape, || key))
            .entered(prefix, traits, key)
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
    /// Returns `true` if all was done. `false` means that work was cut off or that the journal still held removals:
    /// other processes may see what they would have removed, until its TTL ends.
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

impl Inner {
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        let stores = self.tier.iter().flat_map(|tier| tier.stores());
        for store in stores.chain([&self.memory]) {
            stats.entries += store.len() as u64;
            stats.evictions += store.evictions();
            stats.expirations += store.expirations();
            stats.too_heavy += store.refusals();
        }
        if let Some(tier) = &self.tier {
            tier.count_operations(&mut stats);
        }
        stats
    }

    pub(crate) fn health(&self) -> Health {
        let Some(tier) = &self.tier else {
            return Health::memory();
        };
        let (serving, breaker) = if tier.is_trusted() {
            (Serving::Backend, Breaker::Closed)
        } else {
            (Serving::Memory, Breaker::Open)
        };
        Health {
            backend: Some(tier.backend_name()),
            serving,
            mode: if tier.config.tiered {
                CacheMode::Tiered
            } else {
                CacheMode::Shared
            },
            breaker,
            recovered: tier.recovered(),
            watching: tier.is_watching(),
            journaled: tier.journal_len(),
            clock_offset_ms: tier.clock_offset(),
        }
    }

    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// What the memory that calls are answered from now holds under `key`.
    #[inline]
    pub(crate) fn held(&self, key: &Key, local: bool) -> Option<Held> {
        match &self.tier {
            Some(tier) if !local => tier.in_memory(key),
            _ => self.memory.get(key),
        }
    }

    #[cold]
    pub(crate) fn warn_too_large(&self, prefix: &str, bytes: usize) {
        if !self.warned_too_large.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: TARGET,
                prefix,
                bytes,
                "a value is larger than the limit and was not stored; further ones are only counted"
            );
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(tier) = &self.tier {
            tier.close();
        }
    }
}
