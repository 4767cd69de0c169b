//! The shared backend behind a breaker, with this process's memory in its place while it is away.
//!
//! A tier is either *trusted* or not. While it is, values are read from the backend and nothing is kept in memory.
//! While it is not, nothing is asked of the backend; memory starts empty and fills with loads; removals are journaled.
//! [`guardian`] brings it back: it pings, replays the journal, empties memory, and only then trusts the backend again.

mod breaker;
mod guardian;
#[cfg(all(test, shuttle))]
mod interleaved;
mod join;
mod journal;
mod l1;
mod lease;
mod look;
mod operations;
mod removal;
mod server;
mod settle;
mod sweep;
mod tokens;
mod used;
mod waiters;
mod watch;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::breaker::Breaker;
use self::journal::Journal;
pub(crate) use self::l1::Asked;
use self::l1::L1;
pub(crate) use self::lease::Lease;
pub(crate) use self::look::{Acquired, Intent, Look, Sight};
use self::operations::Operations;
use self::removal::is_refusal;
use self::server::Server;
pub(crate) use self::settle::CutOff;
pub(crate) use self::sweep::RESERVED;
use self::sweep::Sweeps;
use self::tokens::Tokens;
pub(crate) use self::tokens::{Labels, Seen};
use self::used::UsedPrefixes;
use self::waiters::Waiters;
use crate::backend::memory::{MemoryLimits, MemoryStore};
use crate::backend::{CacheBackend, Capabilities, SetOutcome, When};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::guard::Guards;
use crate::key::Key;
use crate::stats::Stats;
use crate::sync::{Mutex, MutexGuard};
use crate::target::Target;
use crate::telemetry::TARGET;
use crate::wire::{self, About, Times};

/// How many keys go into one command.
const BATCH: usize = 500;

/// What the builder decided about the tier.
#[derive(Debug, Clone)]
pub(crate) struct TierConfig {
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) budget: Duration,
    pub(crate) fallback_ttl: Duration,
    pub(crate) lease_ttl: Duration,
    pub(crate) max_value: usize,
    pub(crate) trust_snapshot: bool,
    pub(crate) slow_after: Option<Duration>,
    /// What time it is on this machine.
    pub(crate) clock: Clock,
    pub(crate) guards: Guards,
    /// Entries that were read stay in memory.
    pub(crate) tiered: bool,
}

/// See the module.
pub(crate) struct Tier {
    pub(crate) config: TierConfig,
    /// What memory holds while the backend is away.
    pub(crate) fallback: Arc<MemoryStore>,
    /// What was read, in front of the backend.
    pub(crate) l1: Option<L1>,
    waiters: Waiters,
    backend: Arc<dyn CacheBackend>,
    capabilities: Capabilities,
    flights: Arc<Flights>,
    breaker: Breaker,
    journal: Mutex<Journal>,
    used: UsedPrefixes,
    tokens: Tokens,
    server: Server,
    sweeps: Sweeps,
    born: Instant,
    /// Backend time minus this machine's, in milliseconds.
    clock_offset: AtomicI64,
    watch: guardian::Watch,
    watched: watch::Watched,
    operations: Operations,
    closed: AtomicBool,
    errors: Errors,
    /// The backend denies conditional writes: leases are not taken any more.
    cas_denied: AtomicBool,
    warned_denied: AtomicBool,
    wake: Notify,
    attempts: AtomicU32,
    recoveries: AtomicU64,
    /// When the backend came into use last; 0 once an outage has followed that is not taken for the same.
    recovered_at: AtomicU64,
    /// The same, for people: 0 only before the first time.
    last_recovery: AtomicU64,
    clock_read_at: AtomicU64,
}

/// What one call may still spend on the backend, over all its operations.
#[derive(Debug)]
pub(crate) struct Budget(Duration);

impl Budget {
    /// What is left of one that was begun elsewhere.
    pub(crate) fn of(left: Duration) -> Self {
        Self(left)
    }

    pub(crate) fn left(&self) -> Duration {
        self.0
    }
}

impl Tier {
    pub(crate) fn new(
        backend: Arc<dyn CacheBackend>,
        config: TierConfig,
        flights: Arc<Flights>,
        limits: &MemoryLimits,
    ) -> Arc<Self> {
        let clock = config.clock.clone();
        let store = || MemoryStore::new(limits, clock.clone());
        let l1 = config.tiered.then(|| L1::new(store(), clock.clone()));
        let journal = Journal::new(config.namespace.is_some());
        let server = Server::new(config.namespace.is_some());
        let tier = Arc::new(Self {
            capabilities: backend.capabilities(),
            config,
            fallback: store(),
            l1,
            waiters: Waiters::default(),
            backend,
            flights,
            breaker: Breaker::new(),
            journal: Mutex::new(journal),
            used: UsedPrefixes::default(),
            tokens: Tokens::default(),
            server,
            sweeps: Sweeps::default(),
            born: Instant::now(),
            clock_offset: AtomicI64::new(0),
            watch: guardian::Watch::default(),
            watched: watch::Watched::default(),
            operations: Operations::default(),
            closed: AtomicBool::new(false),
            errors: Errors::new(),
            cas_denied: AtomicBool::new(false),
            warned_denied: AtomicBool::new(false),
            wake: Notify::new(),
            attempts: AtomicU32::new(0),
            recoveries: AtomicU64::new(0),
            recovered_at: AtomicU64::new(0),
            last_recovery: AtomicU64::new(0),
            clock_read_at: AtomicU64::new(0),
        });
        tier.begin_watching();
        tier
    }

    /// Whether the backend is asked: it answers, and everything that was removed without it has been replayed.
    #[inline]
    pub(crate) fn is_trusted(&self) -> bool {
        !self.breaker.is_open()
    }

    pub(crate) fn backend_name(&self) -> &'static str {
        self.backend.name()
    }

    pub(crate) fn count_operations(&self, stats: &mut Stats) {
        self.operations.read(stats);
    }

    pub(crate) fn journal_len(&self) -> usize {
        self.journal().len()
    }

    /// Milliseconds by which the backend's clock is ahead of this machine's.
    pub(crate) fn clock_offset(&self) -> i64 {
        self.clock_offset.load(Ordering::Relaxed)
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget(self.config.budget)
    }

    /// The time on the backend's clock, in milliseconds since the Unix epoch.
    pub(crate) fn backend_ms(&self) -> u64 {
        self.config
            .clock
            .wall_ms()
            .saturating_add_signed(self.clock_offset())
    }

    /// What the envelope of a value says that is stored now and fresh for `life`.
    pub(crate) fn about(&self, fingerprint: u64, life: Duration) -> About {
        let now = self.backend_ms();
        let until = now.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        About {
            times: Times {
                created: now,
                fresh_until: until,
                kept_until: until,
            },
            fingerprint,
            epoch: 0,
            tags: SmallVec::new(),
        }
    }

    pub(crate) async fn get(&self, key: &Key, budget: &mut Budget) -> Result<Option<Bytes>, Error> {
        let full = self.full_key(key);
        let found = self.run(budget, || self.backend.get(as_str(&full))).await?;
        self.note_found(key, found.as_ref());
        Ok(found)
    }

    pub(crate) async fn set(
        &self,
        key: &Key,
        value: Vec<u8>,
        ttl: Duration,
        when: When<'_>,
        budget: &mut Budget,
    ) -> Result<SetOutcome, Error> {
        self.note(key);
        let full = self.full_key(key);
        self.run(budget, || {
            self.backend.set(as_str(&full), value.into(), ttl, when)
        })
        .await
    }

    /// Remembers that this library writes under the key's prefix: without a namespace, that is all that tells its keys
    /// from others'.
    fn note(&self, key: &Key) {
        if self.config.namespace.is_none() {
            self.used.note(key.prefix());
        }
    }

    /// A prefix is used by who finds this library's own value under it, as by who writes one: a process that has just
    /// started clears what it has read.
    fn note_found(&self, key: &Key, found: Option<&Bytes>) {
        if found.is_some_and(|bytes| wire::is_own(bytes)) {
            self.note(key);
        }
    }

    /// Whether conditional writes work, so that leases can be taken.
    fn compares(&self) -> bool {
        self.capabilities.compare_and_set && !self.cas_denied.load(Ordering::Relaxed)
    }

    /// Whether the backend can do what `target` asks.
    pub(crate) fn supports(&self, target: &Target) -> bool {
        match target {
            Target::Key(_) | Target::Tag(_) => true,
            Target::Everything | Target::Freshness if self.has_epoch() => true,
            _ => self.capabilities.remove_matching,
        }
    }

    /// Runs one operation within what is left of the call's budget, and tells the breaker how it went.
    async fn run<T, F: Future<Output = Result<T, Error>>>(
        &self,
        budget: &mut Budget,
        operation: impl FnOnce() -> F,
    ) -> Result<T, Error> {
        if budget.0.is_zero() {
            return Err(self.errors.silent.clone());
        }
        // Before it is begun: it may take hold of a connection at once.
        let openings = self.breaker.openings();
        let asked = self.moment();
        let started = Instant::now();
        // No moment at all where the clock does not reach so far.
        let until = started.checked_add(budget.0);
        let result = self.unless_opened(until, operation()).await;
        let ended = Instant::now();
        self.operations.count(&result);
        budget.0 = budget.0.saturating_sub(ended - started);
        // What was learnt before the breaker last opened says nothing about the connection that came after.
        if self.breaker.openings() == openings {
            if result.is_ok() {
                self.answered(asked);
            }
            self.judge(started, ended, &result);
        }
        result
    }

    /// Runs an operation until the breaker opens, and `until` that moment at most.
    async fn unless_opened<T>(
        &self,
        until: Option<Instant>,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        // Subscribed before the look, so that no opening falls between the two.
        let mut opened = pin!(self.breaker.opened());
        if self.breaker.is_open() {
            return Err(self.errors.away.clone());
        }
        let mut operation = pin!(operation);
        let mut deadline = pin!(until.map(tokio::time::sleep_until));
        poll_fn(|cx| {
            if let Poll::Ready(result) = operation.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if opened.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(self.errors.away.clone()));
            }
            match deadline.as_mut().as_pin_mut() {
                Some(deadline) => deadline.poll(cx).map(|()| Err(self.errors.silent.clone())),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn judge<T>(&self, started: Instant, ended: Instant, result: &Result<T, Error>) {
        let now = self.since_birth(ended);
        match result {
            Ok(_) => {
                self.breaker.succeeded(now);
                if let Some(limit) = self.config.slow_after
                    && self.breaker.is_too_slow(ended - started > limit)
                {
                    self.trip(&self.errors.slow);
                }
            }
            Err(error) if self.breaker.failed(now, nanos(self.config.budget), error) => {
                self.trip(error);
            }
            Err(error) if error.kind() == ErrorKind::Denied => self.warn_denied(error),
            Err(_) => {}
        }
    }

    #[cold]
    fn warn_denied(&self, error: &Error) {
        if !self.warned_denied.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: TARGET,
                backend = self.backend.name(),
                error = %error,
                "the cache backend denies a command: what needs it is not done"
            );
        }
    }

    fn since_birth(&self, moment: Instant) -> u64 {
        nanos(moment - self.born)
    }

    /// Stops trusting the backend, because of `error`.
    pub(crate) fn trip(&self, error: &Error) {
        if !self.breaker.open() {
            return;
        }
        // It is empty unless something was stored between the last emptying and now.
        self.fallback.clear();
        self.backend.reset();
        self.wake.notify_one();
        tracing::warn!(
            target: TARGET,
            backend = self.backend.name(),
            error = %error,
            "cache backend lost: values are kept in memory until it is back"
        );
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full_key(&self, key: &Key) -> FullKey {
        let mut full = FullKey::new();
        if let Some(namespace) = &self.config.namespace {
            full.extend_from_slice(namespace.as_bytes());
            full.push(b':');
        }
        full.extend_from_slice(key.as_str().as_bytes());
        full
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Made once, so that an outage costs no allocation.
struct Errors {
    away: Error,
    silent: Error,
    slow: Error,
}

impl Errors {
    fn new() -> Self {
        Self {
            away: Error::new(ErrorKind::Unavailable, "the cache backend is away"),
            silent: Error::new(
                ErrorKind::Timeout,
                "the cache backend did not answer in time",
            ),
            slow: Error::new(
                ErrorKind::Timeout,
                "the cache backend is slower than `slow_after`",
            ),
        }
    }
}

/// A key with the namespace in front, as the backend knows it.
type FullKey = SmallVec<[u8; 160]>;

fn as_str(full: &FullKey) -> &str {
    std::str::from_utf8(full).expect("a namespace and a key are text")
}
