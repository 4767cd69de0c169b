//! The data of the server, and what it does with one command.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use dexter_cache::backend::{Pong, SetOutcome};
use dexter_cache::{Error, ErrorKind, KeyPattern};
use tokio::time::Instant;

use super::EPOCH_MS;

/// One command, owned: it may wait in a network long after its caller has gone.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Get(String),
    GetMany(Vec<String>),
    Set {
        key: String,
        value: Bytes,
        ttl: Duration,
        when: Condition,
    },
    Remove(Vec<String>),
    /// The keys after this one, a few at a time.
    Scan {
        pattern: KeyPattern,
        after: Option<String>,
    },
    /// With the write that changes nothing.
    Ping,
    /// Ends connections.
    Kill(Vec<u64>),
    /// The first on a connection, which may ask to be told of changes below a prefix.
    Greet {
        track: Option<String>,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Always,
    Absent,
    Matches(Vec<u8>),
}

#[derive(Debug)]
pub(crate) enum Reply {
    Found(Option<Bytes>),
    FoundMany(Vec<Option<Bytes>>),
    Set(SetOutcome),
    Removed(u64),
    Page {
        keys: Vec<String>,
        next: Option<String>,
    },
    Pong(Pong),
    Killed,
}

/// What the server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Loading,
    ReadOnly,
    OutOfMemory,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    until: Instant,
}

type Data = BTreeMap<String, Entry>;

/// How many writes a replica may lack at most.
const REPLICA_LAG: usize = 64;

#[derive(Debug)]
pub(crate) struct Store {
    data: Data,
    /// What each write replaced, the latest last: a replica that lacks the last ones has this instead.
    undo: VecDeque<(String, Option<Entry>)>,
    changed: Vec<String>,
    snapshot: Data,
    pub(in crate::sim) run: u64,
    born: Instant,
    /// How long it had been running then.
    age: Duration,
    pub(crate) mood: Mood,
    pub(crate) clock_skew_ms: i64,
    begun: Instant,
    scan_step: usize,
    /// After so many more sets it is in another mood.
    pub(crate) change: Option<(usize, Mood)>,
}

impl Store {
    pub(crate) fn new(scan_step: usize) -> Self {
        let now = Instant::now();
        Self {
            data: Data::new(),
            undo: VecDeque::new(),
            changed: Vec::new(),
            snapshot: Data::new(),
            run: 1,
            born: now,
            age: Duration::from_secs(86_400),
            mood: Mood::Well,
            clock_skew_ms: 0,
            begun: now,
            scan_step,
            change: None,
        }
    }

    pub(crate) fn run_id(&self) -> String {
        format!("run{}", self.run)
    }

    pub(crate) fn pong(&self) -> Pong {
        let mut pong = Pong::default();
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0);
        pong.clock_ms = Some((EPOCH_MS + elapsed).saturating_add_signed(self.clock_skew_ms));
        pong.run_id = Some(self.run_id());
        let up = self.age + self.born.elapsed();
        pong.uptime = Some(Duration::from_secs(up.as_secs()));
        pong
    }

    pub(crate) fn save(&mut self) {
        self.snapshot = self.data.clone();
    }

    pub(crate) fn restart_empty(&mut self) {
        self.begin_run(Data::new(), Duration::ZERO);
    }

    pub(crate) fn restart_whole(&mut self) {
        let data = std::mem::take(&mut self.data);
        self.begin_run(data, Duration::ZERO);
    }

    pub(crate) fn restart_from_snapshot(&mut self) {
        self.begin_run(self.snapshot.clone(), Duration::ZERO);
    }

    /// Another server takes over, which has not seen the last writes.
    pub(crate) fn promote_lacking(&mut self, writes: usize) {
        for _ in 0..writes {
            match self.undo.pop_back() {
                Some((key, Some(entry))) => drop(self.data.insert(key, entry)),
                Some((key, None)) => drop(self.data.remove(&key)),
                None => break,
            }
        }
        let data = std::mem::take(&mut self.data);
        self.begin_run(data, Duration::from_secs(86_400));
    }

    fn begin_run(&mut self, data: Data, age: Duration) {
        self.data = data;
        self.undo.clear();
        self.run += 1;
        self.born = Instant::now();
        self.age = age;
        self.mood = Mood::Well;
    }

    pub(crate) fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.refuse(&command)?;
        Ok(match command {
            Command::Get(key) => Reply::Found(self.read(&key)),
            Command::GetMany(keys) => {
                Reply::FoundMany(keys.iter().map(|key| self.read(key)).collect())
            }
            Command::Set {
                key,
                value,
                ttl,
                when,
            } => Reply::Set(self.set(key, value, ttl, &when)),
            Command::Remove(keys) => {
                let removed = keys.into_iter().filter(|key| self.remove(key)).count();
                Reply::Removed(removed as u64)
            }
            Command::Scan { pattern, after } => self.scan(&pattern, after),
            Command::Ping | Command::Greet { .. } => Reply::Pong(self.pong()),
            Command::Kill(_) => Reply::Killed,
        })
    }

    fn refuse(&self, command: &Command) -> Result<(), Error> {
        let refusal = match (self.mood, command) {
            (Mood::Loading, _) => Some((ErrorKind::NotReady, "LOADING")),
            (
                Mood::ReadOnly,
                Command::Set { .. } | Command::Remove(_) | Command::Ping | Command::Greet { .. },
            ) => Some((ErrorKind::NotReady, "READONLY")),
            (Mood::OutOfMemory, Command::Set { .. }) => Some((ErrorKind::OutOfMemory, "OOM")),
            _ => None,
        };
        refusal.map_or(Ok(()), |(kind, message)| Err(Error::new(kind, message)))
    }

    fn read(&self, key: &str) -> Option<Bytes> {
        let entry = self.data.get(key)?;
        (entry.until > Instant::now()).then(|| entry.value.clone())
    }

    fn set(&mut self, key: String, value: Bytes, ttl: Duration, when: &Condition) -> SetOutcome {
        let current = self.read(&key);
        match when {
            Condition::Always => {}
            Condition::Absent => {
                if let Some(current) = current {
                    return SetOutcome::Refused(Some(current));
                }
            }
            Condition::Matches(beginning) => {
                if !current.is_some_and(|current| current.starts_with(beginning)) {
                    return SetOutcome::Refused(None);
                }
            }
        }
        if let Some((left, mood)) = &mut self.change {
            *left -= 1;
            if *left == 0 {
                self.mood = *mood;
                self.change = None;
            }
        }
        let until = Instant::now() + ttl.max(Duration::from_millis(1));
        let before = self.data.insert(key.clone(), Entry { value, until });
        self.note(key, before);
        SetOutcome::Stored
    }

    fn remove(&mut self, key: &str) -> bool {
        let there = self.read(key).is_some();
        if let Some(before) = self.data.remove(key) {
            self.note(key.to_owned(), Some(before));
        }
        there
    }

    /// The keys that were written or removed since it was asked last.
    pub(in crate::sim) fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed)
    }

    fn note(&mut self, key: String, before: Option<Entry>) {
        self.changed.push(key.clone());
        self.undo.push_back((key, before));
        if self.undo.len() > REPLICA_LAG {
            self.undo.pop_front();
        }
    }

    fn scan(&self, pattern: &KeyPattern, after: Option<String>) -> Reply {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let met: Vec<&String> = self
            .data
            .range((from, Bound::Unbounded))
            .map(|(key, _)| key)
            .take(self.scan_step)
            .collect();
        let next = (met.len() == self.scan_step)
            .then(|| met.last().map(|key| (*key).clone()))
            .flatten();
        let keys = met
            .into_iter()
            .filter(|key| pattern.matches(key.as_bytes()))
            .cloned()
            .collect();
        Reply::Page { keys, next }
    }
}
