//! [`RecordingBackend`]: a backend that writes down what it is asked.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Op;
use crate::backend::{CacheBackend, Capabilities, KeyFilter, Pong, SetOutcome, When};
use crate::error::{Error, ErrorKind};
use crate::pattern::KeyPattern;

/// One operation that a backend was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Its kind.
    pub op: Op,
    /// The keys, namespace included; of a removal by pattern the pattern.
    pub keys: Vec<String>,
    /// For how long a `set` stores.
    pub ttl: Option<Duration>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has not been answered yet.
    UnderWay,
    /// The caller gave up before the answer came.
    Abandoned,
    /// A read found so many of the keys.
    Found(usize),
    /// A `set` wrote.
    Stored,
    /// The condition of a `set` did not hold.
    Refused,
    /// So many keys were removed.
    Removed(u64),
    /// A ping was answered, or a reset done.
    Done,
    /// It failed with an error of this kind.
    Failed(ErrorKind),
}

/// A backend that does what another one does, and writes down what it was asked, in order.
///
/// Clones are handles to the same record: give one to the cache and keep one to look.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dexter_cache::Error> {
/// use dexter_cache::backend::MemoryBackend;
/// use dexter_cache::test_util::{Op, Outcome, RecordingBackend};
/// use dexter_cache::{Cache, Key, Ttl};
///
/// let backend = RecordingBackend::wrapping(MemoryBackend::new(100));
/// let cache = Cache::builder().backend(backend.clone()).build().await?;
/// cache.set(&Key::new("a"), &1, Ttl::secs(60)).await?;
/// cache.get::<i32>(&Key::new("a")).await?;
/// assert_eq!(backend.count(Op::Get), 1);
/// assert_eq!(backend.operations().last().unwrap().outcome, Outcome::Found(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RecordingBackend {
    backend: Arc<dyn CacheBackend>,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    operations: Vec<Operation>,
    /// How many were taken away: an operation under way goes by its number, counted from the first.
    taken: usize,
}

impl RecordingBackend {
    /// `backend`, with a record of what it is asked.
    pub fn wrapping(backend: impl CacheBackend) -> Self {
        Self {
            backend: Arc::new(backend),
            record: Arc::default(),
        }
    }

    /// Everything so far, in the order in which it was asked.
    pub fn operations(&self) -> Vec<Operation> {
        self.record().operations.clone()
    }

    /// As [`operations`](Self::operations), and forgets them.
    pub fn take(&self) -> Vec<Operation> {
        let mut record = self.record();
        let operations = std::mem::take(&mut record.operations);
        record.taken += operations.len();
        operations
    }

    /// How many operations of a kind there were.
    pub fn count(&self, op: Op) -> usize {
        let record = self.record();
        record
            .operations
            .iter()
            .filter(|operation| operation.op == op)
            .count()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, op: Op, keys: &[&str], ttl: Option<Duration>) -> Entry<'_> {
        let mut record = self.record();
        record.operations.push(Operation {
            op,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ttl,
            outcome: Outcome::UnderWay,
        });
        Entry {
            backend: self,
            number: record.taken + record.operations.len() - 1,
            ended: false,
        }
    }
}

/// An operation under way; dropped before it has ended, it was abandoned.
struct Entry<'a> {
    backend: &'a RecordingBackend,
    number: usize,
    ended: bool,
}

impl Entry<'_> {
    fn end<T>(
        mut self,
        result: Result<T, Error>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> Result<T, Error> {
        self.note(match &result {
            Ok(answer) => outcome(answer),
            Err(error) => Outcome::Failed(error.kind()),
        });
        result
    }

    fn note(&mut self, outcome: Outcome) {
        self.ended = true;
        let mut record = self.backend.record();
        let taken = record.taken;
        let place = self.number.checked_sub(taken);
        if let Some(operation) = place.and_then(|place| record.operations.get_mut(place)) {
            operation.outcome = outcome;
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.note(Outcome::Abandoned);
        }
    }
}

#[async_trait]
impl CacheBackend for RecordingBackend {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let entry = self.begin(Op::Get, &[key], None);
        let found = self.backend.get(key).await;
        entry.end(found, |found| Outcome::Found(usize::from(found.is_some())))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        let entry = self.begin(Op::GetMany, keys, None);
        let found = self.backend.get_many(keys).await;
        entry.end(found, |found| {
            Outcome::Found(found.iter().flatten().count())
        })
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        let entry = self.begin(Op::Set, &[key], Some(ttl));
        let done = self.backend.set(key, value, ttl, when).await;
        entry.end(done, |done| match done {
            SetOutcome::Stored => Outcome::Stored,
            SetOutcome::Refused(_) => Outcome::Refused,
        })
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        let entry = self.begin(Op::Remove, keys, None);
        let removed = self.backend.remove(keys).await;
        entry.end(removed, |removed| Outcome::Removed(*removed))
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        let entry = self.begin(Op::RemoveMatching, &[&pattern.to_string()], None);
        let removed = self.backend.remove_matching(pattern, filter).await;
        entry.end(removed, |removed| Outcome::Removed(*removed))
    }

    async fn ping(&self) -> Result<Pong, Error> {
        let entry = self.begin(Op::Ping, &[], None);
        let pong = self.backend.ping().await;
        entry.end(pong, |_| Outcome::Done)
    }

    fn reset(&self) {
        self.begin(Op::Reset, &[], None).note(Outcome::Done);
        self.backend.reset();
    }
}

impl fmt::Debug for RecordingBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingBackend")
            .field("backend", &self.backend)
            .field("operations", &self.record().operations.len())
            .finish_non_exhaustive()
    }
}
