//! [`FaultyBackend`]: a backend that breaks on command.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Fault, Op, Rule};
use crate::backend::{
    CacheBackend, Capabilities, KeyFilter, MemoryBackend, Pong, SetOutcome, Watcher, When,
};
use crate::clock::{Clock, TestClock};
use crate::error::{Error, ErrorKind};
use crate::pattern::KeyPattern;

/// What an operation comes to, owning all it needs, since it may outlive its caller.
type Running<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A backend that does what another one does, until it is told to fail, delay, hang or lose.
///
/// Clones are handles to the same backend: give one to the caches and keep one to break it. Several caches on one backend
/// play several processes of a service.
///
/// # Behavior
///
/// Rules are asked in the order in which they were injected; the first one that means an operation decides. Without one the
/// operation goes through. `reset`, by which a cache gives up a connection, fails what hangs or is delayed.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dexter_cache::Error> {
/// use dexter_cache::test_util::{Fault, FaultyBackend, Op};
/// use dexter_cache::{Cache, ErrorKind, Key, Serving, Ttl};
///
/// let backend = FaultyBackend::new();
/// let cache = Cache::builder().backend(backend.clone()).build().await?;
/// backend.inject(Fault::Fail(ErrorKind::OutOfMemory).on(Op::Set).times(1));
/// cache.set(&Key::new("a"), &1, Ttl::secs(60)).await?; // Redis is full: the old value is removed instead
/// assert_eq!(cache.get::<i32>(&Key::new("a")).await?, None);
/// assert_eq!(cache.health().serving, Serving::Backend); // which is no outage
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyBackend(Arc<Inner>);

struct Inner {
    backend: Arc<dyn CacheBackend>,
    capabilities: Capabilities,
    rules: Mutex<Vec<Rule>>,
    injected: AtomicU64,
    /// Told to what waits.
    events: watch::Sender<Events>,
    /// What was sent before this many resets can no longer be done.
    alive_from: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Events {
    resets: u64,
    heals: u64,
}

impl Default for FaultyBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyBackend {
    /// A backend of bytes in memory that counts as shared, so that leases are taken as they are on Redis.
    ///
    /// Entries expire in tokio's time: in a paused runtime, as the timers of whoever waits for them do.
    pub fn new() -> Self {
        let clock = TestClock::tokio();
        clock.set_wall_ms(Clock::default().wall_ms());
        let backend = MemoryBackend::with_clock(100_000, &clock);
        let capabilities = Capabilities {
            shared: true,
            ..backend.capabilities()
        };
        Self::with(Arc::new(backend), capabilities)
    }

    /// `backend`, with faults.
    pub fn wrapping(backend: impl CacheBackend) -> Self {
        let capabilities = backend.capabilities();
        Self::with(Arc::new(backend), capabilities)
    }

    fn with(backend: Arc<dyn CacheBackend>, capabilities: Capabilities) -> Self {
        Self(Arc::new(Inner {
            backend,
            capabilities,
            rules: Mutex::default(),
            injected: AtomicU64::new(0),
            events: watch::Sender::new(Events::default()),
            alive_from: AtomicU64::new(0),
        }))
    }

    /// From now on things go wrong as `rule` says: a [`Fault`], or one narrowed with [`Fault::on`] and
    /// [`Fault::times`].
    pub fn inject(&self, rule: impl Into<Rule>) {
        self.0.rules().push(rule.into());
    }

    /// Forgets all rules, and lets through what hangs. What is delayed or late stays so.
    pub fn heal(&self) {
        self.0.rules().clear();
        self.0.events.send_modify(|events| events.heals += 1);
    }

    /// How many operations something has gone wrong with.
    pub fn injected(&self) -> u64 {
        self.0.injected.load(Ordering::SeqCst)
    }
}

impl Inner {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, op: Op) -> Option<Fault> {
        let mut rules = self.rules();
        let fault = rules
            .iter_mut()
            .find_map(|rule| rule.strikes(op).then_some(rule.fault))?;
        rules.retain(|rule| !rule.is_spent());
        self.injected.fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }

    /// Waits for `waiting`, unless the connection is given up.
    async fn unless_reset<T>(&self, waiting: impl Future<Output = T>) -> Result<T, Error> {
        let mut events = self.events.subscribe();
        let before = events.borrow_and_update().resets;
        let mut given_up = pin!(events.wait_for(|now| now.resets != before));
        let mut waiting = pin!(waiting);
        poll_fn(|cx| {
            if given_up.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(broken_off()));
            }
            waiting.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    async fn healed(&self) {
        let mut events = self.events.subscribe();
        let before = events.borrow_and_update().heals;
        let _ = events.wait_for(|now| now.heals != before).await;
    }

    /// What a fault does before the operation, where that is all.
    async fn before(&self, fault: Option<Fault>) -> Result<(), Error> {
        match fault {
            None | Some(Fault::LoseReply) => Ok(()),
            Some(Fault::Fail(kind)) => Err(Error::new(kind, "a fault was injected")),
            Some(Fault::Delay(time) | Fault::Late(time)) => self.unless_reset(sleep(time)).await,
            Some(Fault::Hang) => self.unless_reset(self.healed()).await,
        }
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        op: Op,
        start: impl FnOnce(Arc<dyn CacheBackend>) -> Running<T> + Send,
    ) -> Result<T, Error> {
        let fault = self.fault(op);
        if let Some(Fault::Late(time)) = fault {
            let operation = start(Arc::clone(&self.backend));
            return self.late(time, operation).await;
        }
        self.before(fault).await?;
        let result = start(Arc::clone(&self.backend)).await;
        if fault == Some(Fault::LoseReply) {
            return Err(broken_off());
        }
        result
    }

    async fn late<T: Send + 'static>(
        self: &Arc<Self>,
        time: Duration,
        operation: Running<T>,
    ) -> Result<T, Error> {
        let (this, sent) = (Arc::clone(self), self.events.borrow().resets);
        let arriving = tokio::spawn(async move {
            sleep(time).await;
            if sent < this.alive_from.load(Ordering::SeqCst) {
                return Err(broken_off());
            }
            operation.await
        });
        let arrived = self.unless_reset(arriving).await?;
        arrived.unwrap_or_else(|_| Err(broken_off()))
    }
}

fn broken_off() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the connection broke off, as a test wants it",
    )
}

#[async_trait]
impl CacheBackend for FaultyBackend {
    fn name(&self) -> &'static str {
        self.0.backend.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let key = key.to_owned();
        self.0
            .run(Op::Get, |backend| {
                Box::pin(async move { backend.get(&key).await })
            })
            .await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        let keys = owned(keys);
        self.0
            .run(Op::GetMany, |backend| {
                Box::pin(async move { backend.get_many(&borrowed(&keys)).await })
            })
            .await
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        let key = key.to_owned();
        let when = match when {
            When::Always => Condition::Always,
            When::Absent => Condition::Absent,
            When::Matches(beginning) => Condition::Matches(beginning.into()),
        };
        self.0
            .run(Op::Set, |backend| {
                Box::pin(async move { backend.set(&key, value, ttl, when.borrowed()).await })
            })
            .await
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        let keys = owned(keys);
        self.0
            .run(Op::Remove, |backend| {
                Box::pin(async move { backend.remove(&borrowed(&keys)).await })
            })
            .await
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        let fault = self.0.fault(Op::RemoveMatching);
        self.0.before(fault).await?;
        let removed = self.0.backend.remove_matching(pattern, filter).await;
        if fault == Some(Fault::LoseReply) {
            return Err(broken_off());
        }
        removed
    }

    async fn ping(&self) -> Result<Pong, Error> {
        let resets = self.0.events.borrow().resets;
        let pong = self
            .0
            .run(Op::Ping, |backend| {
                Box::pin(async move { backend.ping().await })
            })
            .await?;
        self.0.alive_from.fetch_max(resets, Ordering::SeqCst);
        Ok(pong)
    }

    /// What the backend tells goes through, whatever is injected.
    fn watch(&self, prefix: &str, watcher: Weak<dyn Watcher>) -> bool {
        self.0.backend.watch(prefix, watcher)
    }

    fn reset(&self) {
        self.0.events.send_modify(|events| events.resets += 1);
        self.0.backend.reset();
    }
}

impl fmt::Debug for FaultyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyBackend")
            .field("backend", &self.0.backend)
            .field("rules", &*self.0.rules())
            .finish_non_exhaustive()
    }
}

/// [`When`], owned.
enum Condition {
    Always,
    Absent,
    Matches(Box<[u8]>),
}

impl Condition {
    fn borrowed(&self) -> When<'_> {
        match self {
            Self::Always => When::Always,
            Self::Absent => When::Absent,
            Self::Matches(beginning) => When::Matches(beginning),
        }
    }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
