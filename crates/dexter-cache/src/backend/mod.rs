//! [`CacheBackend`]: what a store of bytes has to do to stand behind a cache.

pub(crate) mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::pattern::KeyPattern;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{RedisBackend, RedisConfig};
pub use memory::{EntryInfo, MemoryBackend};

/// When [`CacheBackend::set`] may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When<'a> {
    /// In any case.
    Always,
    /// Only where the key holds nothing. What no `get` can read (another data type under the key) counts as nothing.
    Absent,
    /// Only where the key holds a value that begins with these bytes.
    Matches(&'a [u8]),
}

/// What [`CacheBackend::set`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetOutcome {
    /// The value is stored.
    Stored,
    /// The condition did not hold, nothing was written. For [`When::Absent`] what is there instead.
    Refused(Option<Bytes>),
}

/// What [`CacheBackend::ping`] learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pong {
    /// The backend's own clock, in milliseconds since the Unix epoch, where it has one.
    pub clock_ms: Option<u64>,
    /// What names this run of the server: it changes when the server restarts.
    pub run_id: Option<String>,
    /// For how long the server has been running.
    pub uptime: Option<Duration>,
}

/// What a backend can do beyond plain reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`When::Absent`] and [`When::Matches`] are atomic for every process that shares the backend. Without it the
    /// cache does not take leases, so loads are single within a process only.
    pub compare_and_set: bool,
    /// [`CacheBackend::remove_matching`] works.
    pub remove_matching: bool,
    /// Other processes see what this one writes.
    pub shared: bool,
}

impl Capabilities {
    /// Everything that this version knows of.
    pub const fn all() -> Self {
        Self {
            compare_and_set: true,
            remove_matching: true,
            shared: true,
        }
    }
}

/// Tells which of the keys that match a pattern may be removed: `None` allows all of them.
///
/// Without a namespace a pattern such as `*` meets keys of other programs. The cache then hands the backend a filter
/// that lets only keys pass that begin with a prefix which this process has used.
pub type KeyFilter<'a> = Option<&'a (dyn Fn(&[u8]) -> bool + Send + Sync)>;

/// A store of bytes behind a cache, shared by processes or not.
///
/// The cache wraps every call in its own deadline and circuit breaker, so an implementation neither retries nor waits
/// longer than it must: it answers, or it fails at once. It is handed complete keys, namespace included, and values
/// that are opaque to it.
///
/// # Behavior
///
/// * Reads see the writes that returned before them (on one process, and on all where `shared` is set).
/// * A value is gone once its `ttl` has passed: never earlier, and at most a few milliseconds later.
/// * Dropping a future leaves the store as if the operation had either happened or not.
/// * An error means that the outcome is not known, unless its kind says otherwise
///   ([`OutOfMemory`](crate::ErrorKind::OutOfMemory), [`WrongType`](crate::ErrorKind::WrongType),
///   [`Denied`](crate::ErrorKind::Denied): nothing was done).
///
/// With the feature `test-util`, `test_util::behavior` is a suite that any implementation can be run against.
#[async_trait]
pub trait CacheBackend: fmt::Debug + Send + Sync + 'static {
    /// A short name for logs and metrics, such as `redis`.
    fn name(&self) -> &'static str;

    /// What this backend can do. Asked once, when the cache is built.
    fn capabilities(&self) -> Capabilities;

    /// The value under `key`, or `None`.
    ///
    /// # Errors
    ///
    /// [`WrongType`](crate::ErrorKind::WrongType) where the key holds something that is no string of bytes.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// The values under `keys`, in their order. A key of another data type reads as `None`.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error>;

    /// Stores `value` under `key` for `ttl`, if `when` holds. One atomic step. A `ttl` below a millisecond counts as
    /// one millisecond, one beyond the backend's range as the longest that it knows.
    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error>;

    /// Removes `keys` and returns how many of them there were.
    async fn remove(&self, keys: &[&str]) -> Result<u64, Error>;

    /// Removes every key that `pattern` matches and `filter` lets pass; returns how many. Keys that are there when the
    /// call begins and still there when the sweep reaches them are removed; keys written meanwhile may or may not be.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the backend cannot enumerate its keys: never a false `0`.
    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error>;

    /// A round trip that proves that the backend reads *and writes*. Where there is a connection to make, this makes
    /// it; before it returns, whatever an earlier connection had sent can no longer be applied.
    async fn ping(&self) -> Result<Pong, Error>;

    /// Gives up what is broken, so that operations under way fail and the next [`ping`](CacheBackend::ping) begins
    /// afresh. Called when the circuit breaker opens, and when the cache closes. Must not block.
    fn reset(&self) {}
}
