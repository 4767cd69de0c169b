//! [`CacheBuilder`]: the options, read once, and the parts put together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backend::CacheBackend;
use crate::backend::memory::{EntryInfo, MemoryLimits, MemoryStore};
use crate::background::Background;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::guard::Guards;
use crate::inner::{Config, Inner};
use crate::stats::Counters;
use crate::telemetry::TARGET;
use crate::tier::{RESERVED, Tier, TierConfig};

const DEFAULT_CAPACITY: usize = 100_000;
/// Namespaces hold none of these: they would act as a separator or in a pattern.
const NOT_IN_NAMESPACE: &[char] = &[':', '*', '?', '[', ']', '\\', '^', '{', '}'];

/// Options of a [`Cache`]; every default is safe.
///
/// ```no_run
/// # async fn example() -> Result<(), dexter_cache::Error> {
/// use std::time::Duration;
/// use dexter_cache::Cache;
///
/// let cache = Cache::builder()
///     .redis("redis://cache.internal:6379/0")
///     .namespace("dexter")
///     .memory_capacity(50_000)
///     .budget(Duration::from_millis(100))
///     .build()
///     .await?;
/// cache.install()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct CacheBuilder {
    backend: Backend,
    namespace: Option<String>,
    limits: MemoryLimits,
    budget: Duration,
    fallback_ttl: Duration,
    lease_ttl: Duration,
    follow_timeout: Duration,
    max_value_bytes: usize,
    trust_snapshot: bool,
    jitter: f64,
    tiered: bool,
    throttle: Duration,
    loads_while_away: usize,
    slow_after: Option<Duration>,
    off: bool,
    #[cfg(feature = "metrics")]
    name: Arc<str>,
    clock: Clock,
    guards: Guards,
}

#[derive(Clone)]
enum Backend {
    /// Nothing was said.
    None,
    /// Memory was asked for.
    Memory,
    Redis(String),
    Custom(Arc<dyn CacheBackend>),
}

impl Default for CacheBuilder {
    fn default() -> Self {
        Self {
            backend: Backend::None,
            namespace: None,
            limits: MemoryLimits::Entries(DEFAULT_CAPACITY),
            budget: Duration::from_millis(250),
            fallback_ttl: Duration::from_secs(30),
            lease_ttl: Duration::from_secs(10),
            follow_timeout: Duration::from_secs(10),
            max_value_bytes: 1 << 20,
            trust_snapshot: false,
            jitter: 0.1,
            tiered: false,
            throttle: Duration::from_secs(30),
            loads_while_away: 256,
            slow_after: None,
            off: false,
            #[cfg(feature = "metrics")]
            name: "cache".into(),
            clock: Clock::System,
            guards: Guards::default(),
        }
    }
}

impl CacheBuilder {
    /// The options that the environment names; see [`Cache::from_env`].
    ///
    /// [`tiered`](Self::tiered) has no variable, since it needs a namespace:
    /// `CacheBuilder::from_env()?.namespace("dexter").tiered()`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] where a variable is no text.
    pub fn from_env() -> Result<Self, Error> {
        let mut builder = Self::default().redis(
            variable("REDIS_URL")?
                .as_deref()
                .unwrap_or("redis://localhost:6379/0"),
        );
        builder.off = match variable("DEXTER_CACHE")?.as_deref() {
            None | Some("" | "on") => false,
            Some("off") => true,
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "DEXTER_CACHE can be `on` or `off`, and nothing else",
                ));
            }
        };
        Ok(builder)
    }

    /// Puts a Redis behind the cache: `redis://[[user]:password@]host[:port][/db]`, `host:port`, `unix:///path` or a
    /// `valkey` form of these. Empty or `memory` means memory alone.
    ///
    /// [`RedisConfig`](crate::backend::RedisConfig) lists every form. TLS (`rediss://`) is not supported yet, and neither
    /// are cluster and Sentinel addresses: [`build`](Self::build) says so.
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.backend = match url.trim() {
            "" | "memory" => Backend::Memory,
            trimmed => Backend::Redis(trimmed.to_owned()),
        };
        self
    }

    /// Puts another backend behind the cache.
    pub fn backend(mut self, backend: impl CacheBackend) -> Self {
        self.backend = Backend::Custom(Arc::new(backend));
        self
    }

    /// Keeps what is read from the backend in memory as well, for as long as the backend tells of no change of it.
    ///
    /// A hit in memory then asks nobody and decodes nothing; otherwise every hit is a round trip. A value enters memory by
    /// being *read*, and is kept until its TTL ends, until it gives way to others, or until Redis tells that its key has
    /// changed: it does so at once, by its messages for client-side caching (`CLIENT TRACKING … BCAST` on the namespace,
    /// in RESP3). This process's own removals act at once, without that.
    ///
    /// It needs a backend and a [`namespace`](Self::namespace). Where the address says `memory`, memory is all there is,
    /// and this changes nothing. The [front page](crate#three-modes) says when it is worth it.
    ///
    /// # Behavior
    ///
    /// What another process removes is not served any more once Redis has told of it: within a round trip or so. A
    /// connection that has broken without a word is noticed within **2.5 seconds**, the longest that memory answers
    /// without proof that it has been told everything. A connection that is known to be lost leaves memory serving for
    /// the [fallback TTL](Self::fallback_ttl), from when the backend was last known to answer, and it is emptied before
    /// the backend is used again.
    ///
    /// A server that does not tell (before Redis 6, RESP2, a user without the right to `CLIENT TRACKING`) serves too:
    /// then a value is kept in memory for at most **2.5 seconds** after it was read.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), dexter_cache::Error> {
    /// use dexter_cache::Cache;
    ///
    /// let cache = Cache::builder()
    ///     .redis("redis://cache.internal:6379/0")
    ///     .namespace("dexter")
    ///     .tiered()
    ///     .build()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tiered(mut self) -> Self {
        self.tiered = true;
        self
    }

    /// Puts `namespace` and `:` in front of every key in the backend, so that several services can share one.
    ///
    /// With a namespace, everything below it is this cache's to remove. Without one, only keys under prefixes that
    /// this process has used are.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// How many entries memory holds at most (100,000). When it is full, entries that are asked for less give way.
    ///
    /// With a backend there are two stores in memory, each with this bound: one for the values of `local` functions, and
    /// one that serves while the backend is away. [`tiered`](Self::tiered) adds a third one, for what was read.
    pub fn memory_capacity(mut self, entries: usize) -> Self {
        self.limits = MemoryLimits::Entries(entries);
        self
    }

    /// Bounds memory by weight instead of by number: `weigher` tells what an entry weighs, in any unit. With a backend it
    /// bounds each of the stores, as [`memory_capacity`](Self::memory_capacity) does.
    ///
    /// ```
    /// use dexter_cache::Cache;
    ///
    /// // 64 MiB, where every value is a string.
    /// let cache = Cache::builder().memory_weight(64 << 20, |entry| {
    ///     let text = entry.value::<String>().map_or(0, String::len);
    ///     u32::try_from(entry.key().len() + text + 100).unwrap_or(u32::MAX)
    /// });
    /// ```
    pub fn memory_weight(
        mut self,
        max: u64,
        weigher: impl Fn(&EntryInfo<'_>) -> u32 + Send + Sync + 'static,
    ) -> Self {
        self.limits = MemoryLimits::Weight {
            max,
            weigher: Arc::new(weigher),
        };
        self
    }

    /// What all backend operations of one call may take together (250 ms). A budget above half a second is also what the
    /// backend has to answer the question whether it is there.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// How long a value is kept in memory while the backend is away (30 s). It bounds how long this process may serve
    /// what another one has invalidated meanwhile.
    pub fn fallback_ttl(mut self, ttl: Duration) -> Self {
        self.fallback_ttl = ttl;
        self
    }

    /// How long a load in one process keeps others from loading the same key without a sign of life (10 s). A load that
    /// takes longer renews it.
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// How long a caller waits for another one's load before it runs its own (10 s).
    pub fn follow_timeout(mut self, timeout: Duration) -> Self {
        self.follow_timeout = timeout;
        self
    }

    /// The largest value that is stored in the backend, in bytes after encoding (1 MiB). Larger ones are counted.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Whether a server that has restarted is believed to hold nothing that was removed before (`false`).
    ///
    /// A Redis that restarts from a snapshot, or from a log that was not written to the last command, may hold values
    /// that had been removed. So after a restart one process invalidates the namespace before any trusts the server.
    /// `true` is for servers that keep nothing, or everything (`appendfsync always`); the removals of the last minute
    /// are replayed all the same.
    pub fn trust_snapshot(mut self, trust: bool) -> Self {
        self.trust_snapshot = trust;
        self
    }

    /// What the label `cache` of this cache's metrics says (`cache`), where a process has several.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn metrics_name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// How much of a TTL may be taken off at random when a value is stored (0.1: up to a tenth), so that values which
    /// were stored together do not expire together. 0 turns it off.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction;
        self
    }

    /// Goes by a clock that a test sets, instead of the machine's; see [`TestClock`](crate::test_util::TestClock).
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn clock(mut self, clock: &crate::clock::TestClock) -> Self {
        self.clock = clock.into();
        self
    }

    /// Turns a guard off, so that what it guards against happens. For the tests of this library, which show that they
    /// would notice.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub fn without(mut self, guard: crate::guard::Guard) -> Self {
        self.guards = self.guards.without(guard);
        self
    }

    /// How long no load is tried after one that failed over a stale value (30 s): until then the stale value answers. What a
    /// function or a [`Policy`](crate::Policy) says goes before it.
    pub fn throttle(mut self, pause: Duration) -> Self {
        self.throttle = pause;
        self
    }

    /// How many loads run at a time while the backend is away (256), so that what it has held back does not come down on the
    /// origin all at once. Further ones wait, as long as [`follow_timeout`](Self::follow_timeout), and run then. At least 1.
    pub fn loads_while_away(mut self, loads: usize) -> Self {
        self.loads_while_away = loads;
        self
    }

    /// Takes a backend that needs longer than that, several times in a row, for one that is away (never). It is used again
    /// when it answers faster.
    pub fn slow_after(mut self, limit: Duration) -> Self {
        self.slow_after = Some(limit);
        self
    }

    /// Builds the cache and, where there is a backend, tries to reach it, for at most 1.5 seconds.
    ///
    /// A backend that cannot be reached is no error: memory serves, and the backend is used as soon as it is there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for options that cannot be used.
    pub async fn build(self) -> Result<Cache, Error> {
        self.check()?;
        let backend: Option<Arc<dyn CacheBackend>> = match &self.backend {
            Backend::None | Backend::Memory => None,
            Backend::Redis(url) => Some(redis(url)?),
            Backend::Custom(backend) => Some(Arc::clone(backend)),
        };
        let cache = self.assemble(backend);
        #[cfg(feature = "metrics")]
        cache.meter();
        if let Some(tier) = &cache.0.tier {
            tier.start().await;
        }
        Ok(cache)
    }

    pub(crate) fn build_memory(self) -> Cache {
        self.assemble(None)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if let Some(namespace) = &self.namespace {
            let bad =
                |c: char| NOT_IN_NAMESPACE.contains(&c) || c.is_control() || c.is_whitespace();
            if namespace.is_empty() || namespace.contains(bad) || namespace == RESERVED {
                return refuse(
                    "a namespace is one word without `:`, white space and the pattern characters `* ? [ ] \\ ^ { }`, \
                     such as `dexter`; `dexter-cache` is the library's own",
                );
            }
        }
        if self.tiered {
            match self.backend {
                Backend::None => {
                    return refuse(
                        "`tiered` keeps in memory what is read from a backend, and there is none: add \
                         `.redis(\"redis://localhost:6379/0\")`, or leave `tiered` out",
                    );
                }
                Backend::Redis(_) | Backend::Custom(_) if self.namespace.is_none() => {
                    return refuse(
                        "`tiered` is told of every change within its namespace, and needs one: add \
                         `.namespace(\"dexter\")`, or a word of your own",
                    );
                }
                _ => {}
            }
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return refuse(
                "`jitter` is the part of a TTL that may be taken off: a number from 0 to 1",
            );
        }
        if self.budget.is_zero() {
            return refuse(
                "`budget` is zero: no operation could ever succeed; use `Cache::memory()` to go without",
            );
        }
        if self.lease_ttl < Duration::from_millis(100) {
            return refuse(
                "`lease_ttl` is below 100 ms: a lease would end before its load could renew it",
            );
        }
        Ok(())
    }

    fn assemble(self, backend: Option<Arc<dyn CacheBackend>>) -> Cache {
        let flights = Flights::new(self.guards);
        let background = Arc::<Background>::default();
        let memory = MemoryStore::new(&self.limits, self.clock.clone());
        let tier = backend.map(|backend| {
            let config = TierConfig {
                namespace: self.namespace.map(String::into_boxed_str),
                budget: self.budget,
                fallback_ttl: self.fallback_ttl,
                lease_ttl: self.lease_ttl,
                max_value: self.max_value_bytes,
                trust_snapshot: self.trust_snapshot,
                slow_after: self.slow_after,
                clock: self.clock.clone(),
                guards: self.guards,
                tiered: self.tiered,
            };
            let loads = Arc::clone(&flights);
            let tier = Tier::new(backend, config, loads, &self.limits);
            let (weak, background) = (Arc::downgrade(&tier), Arc::clone(&background));
            flights.on_orphaned(move |key, token| {
                if let Some(tier) = weak.upgrade() {
                    drop(background.spawn(tier.release(&key, token)));
                }
            });
            tier
        });
        if tier.is_none() {
            tracing::debug!(target: TARGET, "cache in memory");
        }
        Cache(Arc::new(Inner {
            memory,
            tier,
            flights,
            counters: Counters::new(),
            background,
            clock: self.clock,
            #[cfg(feature = "metrics")]
            meters: crate::meters::Meters::default(),
            config: Config {
                #[cfg(feature = "metrics")]
                name: self.name,
                jitter: self.jitter,
                follow_timeout: self.follow_timeout,
                throttle: self.throttle,
            },
            loads_while_away: Semaphore::new(
                self.loads_while_away.clamp(1, Semaphore::MAX_PERMITS),
            ),
            off: AtomicBool::new(self.off),
            closed: AtomicBool::new(false),
            warned_too_large: AtomicBool::new(false),
        }))
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = match &self.backend {
            Backend::None | Backend::Memory => "memory",
            // The address may hold a password.
            Backend::Redis(_) => "redis",
            Backend::Custom(backend) => backend.name(),
        };
        f.debug_struct("CacheBuilder")
            .field("backend", &backend)
            .field("namespace", &self.namespace)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::new(
            ErrorKind::Config,
            format!("{name} is no valid UTF-8"),
        )),
    }
}

#[cfg(feature = "redis")]
fn redis(url: &str) -> Result<Arc<dyn CacheBackend>, Error> {
    use crate::backend::{RedisBackend, RedisConfig};
    Ok(Arc::new(RedisBackend::new(RedisConfig::parse(url)?)))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str) -> Result<Arc<dyn CacheBackend>, Error> {
    Err(Error::new(
        ErrorKind::Config,
        "a Redis address needs the feature `redis` of dexter-cache; set REDIS_URL=memory to go without",
    ))
}
