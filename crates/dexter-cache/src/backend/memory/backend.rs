//! [`MemoryBackend`]: bytes in the memory of this process, behind the contract of every backend.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;

use super::entry::{Held, KeyRef};
use super::limits::MemoryLimits;
use super::store::MemoryStore;
use crate::backend::{CacheBackend, Capabilities, KeyFilter, Pong, SetOutcome, When};
use crate::clock::{Clock, after};
use crate::error::Error;
use crate::pattern::KeyPattern;

/// Locks for writers of one key. Two keys of one lock wait for each other for less than a microsecond.
const STRIPES: usize = 64;

/// What an entry takes beside its key and its value, roughly.
const OVERHEAD: usize = 150;

/// A [`CacheBackend`] in the memory of this process: bounded, never failing, gone when it is dropped.
///
/// It serves where several caches of one process share entries, as the embedded default of programs without a server,
/// and in tests. A cache that needs nothing but memory does better without any backend: it keeps typed values and
/// decodes nothing.
///
/// A value is kept as it is handed in: [`Bytes`] that are a slice of something larger keep all of that alive.
///
/// # Behavior
///
/// Entries beyond the capacity push out others, those first that were not asked for again. Values expire to within
/// 10 ms, never early. Expired values are given back by a task on the tokio runtime of whoever stores; no task runs
/// while the backend is empty. Conditional writes are atomic among the users of this value and its clones.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dexter_cache::Error> {
/// use std::time::Duration;
///
/// use dexter_cache::backend::{CacheBackend, MemoryBackend, When};
///
/// let backend = MemoryBackend::new(10_000);
/// backend.set("greeting", "hello".into(), Duration::from_secs(60), When::Always).await?;
/// assert_eq!(backend.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBackend(Arc<Inner>);

struct Inner {
    store: Arc<MemoryStore>,
    hasher: RandomState,
    /// A conditional write looks before it writes; whoever writes or removes holds the lock of the key meanwhile.
    stripes: Box<[Mutex<()>]>,
    clock: Clock,
}

impl MemoryBackend {
    /// A backend for at most `capacity` entries. With `0` it stores nothing.
    pub fn new(capacity: usize) -> Self {
        Self::with(&MemoryLimits::Entries(capacity), Clock::default())
    }

    /// A backend for at most `bytes` bytes: keys, values and what they take beside (about 150 bytes an entry). A
    /// single value larger than a shard of it (4 MiB and more, or all of it) is not stored.
    pub fn with_max_bytes(bytes: u64) -> Self {
        let limits = MemoryLimits::Weight {
            max: bytes,
            weigher: Arc::new(|entry| {
                let size = entry.key.len() + entry.encoded_len().unwrap_or(0) + OVERHEAD;
                u32::try_from(size).unwrap_or(u32::MAX)
            }),
        };
        Self::with(&limits, Clock::default())
    }

    /// As [`new`](Self::new), where entries expire by a clock that a test sets.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn with_clock(capacity: usize, clock: &crate::clock::TestClock) -> Self {
        Self::with(&MemoryLimits::Entries(capacity), clock.into())
    }

    pub(super) fn with(limits: &MemoryLimits, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store: MemoryStore::new(limits, clock.clone()),
            hasher: RandomState::default(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            clock,
        }))
    }
}

impl Inner {
    fn key<'k>(&self, text: &'k str) -> KeyRef<'k> {
        KeyRef {
            hash: self.hasher.hash_one(text),
            text: text.as_bytes(),
        }
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, ()> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the lowest bits count"
        )]
        let stripe = &self.stripes[hash as usize % STRIPES];
        // Nothing is left half done by a panic: the lock guards no data.
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.store.get(self.key(key)).and_then(|held| bytes(&held))
    }

    fn set(&self, key: &str, value: Bytes, ttl: Duration, when: When<'_>) -> SetOutcome {
        let key = self.key(key);
        let _writer = self.lock(key.hash);
        let current = || self.store.get(key).and_then(|held| bytes(&held));
        match when {
            When::Always => {}
            When::Absent => {
                if let Some(current) = current() {
                    return SetOutcome::Refused(Some(current));
                }
            }
            When::Matches(beginning) => {
                if !current().is_some_and(|current| current.starts_with(beginning)) {
                    return SetOutcome::Refused(None);
                }
            }
        }
        let len = value.len();
        let fresh_until = after(self.clock.now(), ttl.max(Duration::from_millis(1)));
        self.store
            .insert(key, Held::new(Arc::new(value), fresh_until), Some(len));
        SetOutcome::Stored
    }

    fn remove(&self, key: &str) -> bool {
        let key = self.key(key);
        let _writer = self.lock(key.hash);
        self.store.remove(key)
    }
}

/// What is held, as bytes: nothing else is ever put into this store.
fn bytes(held: &Held) -> Option<Bytes> {
    held.value.downcast_ref::<Bytes>().cloned()
}

#[async_trait]
impl CacheBackend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared: false,
            watch: false,
            ..Capabilities::all()
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(key))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        Ok(keys.iter().map(|key| self.0.get(key)).collect())
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        Ok(self.0.set(key, value, ttl, when))
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        Ok(keys.iter().map(|key| u64::from(self.0.remove(key))).sum())
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        let matches = |key: &[u8]| pattern.matches(key) && filter.is_none_or(|allows| allows(key));
        let removed = self.0.store.remove_where(matches, |key| {
            let _writer = self.0.lock(key.hash);
            self.0.store.remove_stored(key)
        });
        Ok(removed.await)
    }

    async fn ping(&self) -> Result<Pong, Error> {
        Ok(Pong {
            clock_ms: Some(self.0.clock.wall_ms()),
            ..Pong::default()
        })
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}
