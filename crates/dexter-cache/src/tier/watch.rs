//! What changes in the backend, whoever changes it, as far as this process is told.
//!
//! Without L1 the tier watches what it keeps itself beside the values, below the reserved prefix: few keys that change
//! seldom. With L1 it watches the whole namespace.
//!
//! What is told is told before the reply to anything that was asked later (the order that
//! [`CacheBackend::watch`](crate::backend::CacheBackend::watch) promises). So what is known here and has not been told
//! to be different when a reply has come was so when the question was sent. What was *asked* before a change was told
//! must not be remembered after it: whoever remembers takes a number from [`Sequences`] before asking, and looks
//! whether it still holds under the lock that [`Tier::changed`] takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::Tier;
use super::l1::Moment;
use super::sweep::RESERVED;
use crate::backend::Watcher;
use crate::backend::memory::KeyRef;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::telemetry::TARGET;

/// How many numbers there are: keys of one number disturb each other, which costs a look at the backend.
const SHARDS: usize = 64;

/// Whether changes are told, and how often that has ended.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The backend tells this tier, and not another cache.
    accepted: AtomicBool,
    /// The connection that was trusted last tells.
    telling: AtomicBool,
    losses: AtomicU64,
    /// It has been logged that nothing is told.
    mentioned: AtomicBool,
}

/// Numbers that change with every change told: one for each of a few groups of keys.
#[derive(Debug)]
pub(crate) struct Sequences([AtomicU64; SHARDS]);

impl Default for Sequences {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Sequences {
    /// The number of the keys with this hash; the hash is any that its user keeps to.
    pub(crate) fn of(&self, hash: u64) -> u64 {
        self.shard(hash).load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, hash: u64) {
        self.shard(hash).fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn advance_all(&self) {
        for shard in &self.0 {
            shard.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn shard(&self, hash: u64) -> &AtomicU64 {
        // The same bits as the shards of flights, so that what meets there meets here.
        &self.0[(hash >> 40) as usize % SHARDS]
    }
}

impl Tier {
    /// Asks the backend to tell of changes, from the first connection on.
    pub(super) fn begin_watching(self: &Arc<Self>) {
        if self.capabilities.watch {
            let this: Weak<Self> = Arc::downgrade(self);
            let accepted = self.backend.watch(&self.watched_prefix(), this);
            self.watched.accepted.store(accepted, Ordering::SeqCst);
        }
    }

    /// Whether what is known of the backend holds until a change is told.
    pub(crate) fn is_watching(&self) -> bool {
        self.watched.telling.load(Ordering::SeqCst) && self.is_trusted()
    }

    fn watched_prefix(&self) -> String {
        match &self.config.namespace {
            Some(namespace) if self.l1.is_some() => format!("{namespace}:"),
            Some(namespace) => format!("{namespace}:{RESERVED}:"),
            None => format!("{RESERVED}:"),
        }
    }

    /// How often a connection that told has been lost.
    pub(super) fn losses(&self) -> u64 {
        self.watched.losses.load(Ordering::SeqCst)
    }

    /// A connection is about to be trusted. What changed before it told was not told: nothing is known any more.
    ///
    /// `asked` is when it was asked whether it does: what had changed by then is told.
    pub(super) fn begin_anew(&self, telling: bool, asked: Option<Moment>) {
        let telling = telling && self.watched.accepted.load(Ordering::SeqCst);
        self.watched.telling.store(telling, Ordering::SeqCst);
        self.reserved_flushed();
        self.begin_l1_anew(telling, asked);
        if self.l1.is_some() && !telling && !self.watched.mentioned.swap(true, Ordering::SeqCst) {
            tracing::info!(
                target: TARGET,
                backend = self.backend.name(),
                bound = ?super::l1::BOUND,
                "the cache backend does not tell of changes: what is read stays in memory for a short time only"
            );
        }
    }

    /// What the tier keeps beside the values has changed: `name` is the key behind the reserved prefix, such as
    /// `tag:…` or `epoch`.
    fn reserved_changed(&self, name: &[u8]) {
        self.token_changed(name);
    }

    /// Anything that the tier keeps beside the values may have changed.
    fn reserved_flushed(&self) {
        self.tokens.forget_all();
    }

    /// The key behind the namespace, if it lies in there.
    fn within_namespace<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        match &self.config.namespace {
            Some(namespace) => key.strip_prefix(namespace.as_bytes())?.strip_prefix(b":"),
            None => Some(key),
        }
    }
}

/// Called where replies are read: nothing here waits.
impl Watcher for Tier {
    fn changed(&self, key: &[u8]) {
        let Some(key) = self.within_namespace(key) else {
            return;
        };
        let reserved = key.strip_prefix(RESERVED.as_bytes());
        if let Some(name) = reserved.and_then(|rest| rest.strip_prefix(b":")) {
            self.reserved_changed(name);
        } else {
            let hash = Key::hash_of(key);
            self.evict_ref(KeyRef { hash, text: key });
            self.waiters.wake(hash);
        }
    }

    fn flushed(&self) {
        self.reserved_flushed();
        self.empty_l1();
        self.waiters.wake_all();
    }

    fn lost(&self) {
        // Counted first: a guardian that is about to trust this very connection looks at the count afterwards.
        self.watched.losses.fetch_add(1, Ordering::SeqCst);
        self.trip(&Error::new(
            ErrorKind::Unavailable,
            "the connection has ended",
        ));
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;
    use crate::flight::Shared;
    use crate::tag::TagId;
    use crate::target::Target;
    use crate::tier::{Asked, Seen, l1};
    use crate::wire::{About, Entry};

    /// A tier with L1 that is told of changes, and what a value under one tag carries.
    struct Told {
        tier: Arc<Tier>,
        key: Key,
        tag: TagId,
        about: About,
    }

    impl Told {
        async fn new() -> Self {
            let clock = TestClock::new();
            clock.advance(Duration::from_secs(1));
            let (tier, tag) = (l1::tests::tier(&clock), TagId::of("tag"));
            tier.watched.accepted.store(true, Ordering::SeqCst);
            tier.begin_anew(true, tier.moment());
            tier.breaker.close(1);
            let mut told = Self {
                about: tier.about(0, Duration::from_secs(3600)),
                tier,
                key: Key::new("a"),
                tag,
            };
            let (seen, budget) = (&mut Seen::default(), &mut told.tier.budget());
            let labels = told.tier.label(&[tag], false, seen, budget).await;
            let labels = labels.expect("memory answers");
            told.about.epoch = labels.epoch;
            told.about.tags = labels.tags;
            told.learn().await;
            told
        }

        /// Reads tokens and epoch, which are known from then on.
        async fn learn(&self) {
            let budget = &mut self.tier.budget();
            let look = self.tier.look_up(&self.key, &[self.tag], budget).await;
            look.expect("memory answers");
        }

        fn ask(&self) -> Asked {
            let asked = Asked::default();
            self.tier.ask(&self.key, &asked);
            asked
        }

        /// Whether L1 keeps what was read since `asked`.
        fn is_kept(&self, asked: &Asked) -> bool {
            let entry = Entry {
                about: self.about.clone(),
                token: 1,
                mark: None,
                etag: None,
                nothing: false,
                payload: b"",
            };
            let value = || -> Shared { Arc::new(1_u32) };
            self.tier.keep(&self.key, value, &entry, None, asked, None);
            let kept = self.tier.in_memory(&self.key).is_some();
            self.tier.evict(&self.key);
            kept
        }

        fn changed(&self, name: &str) {
            let key = format!("ns:{RESERVED}:{name}");
            self.tier.changed(key.as_bytes());
        }
    }

    #[tokio::test]
    async fn what_bears_a_token_that_is_not_known_any_more_is_not_kept() {
        let told = Told::new().await;
        assert!(told.is_kept(&told.ask()));
        let tag = format!("tag:{:016x}", told.tag.0);
        for name in [tag.as_str(), "epoch"] {
            told.changed(name);
            // Nobody is told a second time: what enters now would stay.
            assert!(!told.is_kept(&told.ask()), "{name}");
            told.learn().await;
            assert!(told.is_kept(&told.ask()), "{name}");
        }
    }

    #[tokio::test]
    async fn what_was_asked_before_its_tag_was_invalidated_here_is_not_kept() {
        let told = Told::new().await;
        let asked = told.ask();
        drop(told.tier.flights.raise(Target::Tag(told.tag)));
        assert!(!told.is_kept(&asked));
        assert!(told.is_kept(&told.ask()));
        let fence = told.tier.flights.raise(Target::Tag(told.tag));
        assert!(!told.is_kept(&told.ask()), "it is just being invalidated");
        drop(fence);
    }
}
