//! [`SimBackend`]: one process's client of the simulated server, after `RedisBackend`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dexter_cache::backend::{CacheBackend, Capabilities, KeyFilter, Pong, SetOutcome, When};
use dexter_cache::{Error, ErrorKind, KeyPattern};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::net::{ConnId, SimServer};
use super::store::{Command, Condition, Reply};
use crate::world::World;

/// The defaults of `RedisConfig`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const SWEEP_TIMEOUT: Duration = Duration::from_millis(250);

pub(crate) struct SimBackend {
    server: SimServer,
    process: usize,
    live: SyncMutex<Option<Link>>,
    /// Connections that the server may still hold, and the run that they belong to.
    earlier: SyncMutex<Vec<Link>>,
    resets: AtomicU64,
    pinging: Mutex<()>,
    /// Told when the cache gives the connection up, and whom it meets.
    observer: Arc<World>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    conn: ConnId,
    run_id: Option<String>,
}

impl SimBackend {
    pub(crate) fn new(server: SimServer, process: usize, observer: Arc<World>) -> Self {
        Self {
            server,
            process,
            live: SyncMutex::default(),
            earlier: SyncMutex::default(),
            resets: AtomicU64::new(0),
            pinging: Mutex::default(),
            observer,
        }
    }

    fn live(&self) -> Result<Link, Error> {
        let live = lock(&self.live).clone();
        live.ok_or_else(|| unavailable("not connected"))
    }

    async fn ask(&self, conn: ConnId, command: Command) -> Result<Reply, Error> {
        let answer = self.server.send(conn, command).await;
        answer.unwrap_or_else(|_| Err(unavailable("the connection broke off")))
    }

    async fn ask_live(&self, command: Command) -> Result<Reply, Error> {
        self.ask(self.live()?.conn, command).await
    }

    fn retire(&self, link: &Link) {
        let mut live = lock(&self.live);
        if live.as_ref() == Some(link) {
            *live = None;
            drop(live);
            lock(&self.earlier).push(link.clone());
            self.server.hang_up(link.conn);
        }
    }

    async fn open(&self) -> Result<(Link, Pong), Error> {
        let conn = self.server.connect(self.process)?;
        // Given up half-way, it is closed, and has sent nothing that matters.
        let opening = Opening(self, conn);
        let greeted = timeout(CONNECT_TIMEOUT, self.ask(conn, Command::Ping)).await;
        let pong = match greeted.map_err(|_| silent("while connecting"))?? {
            Reply::Pong(pong) => pong,
            other => unreachable!("{other:?} to a ping"),
        };
        std::mem::forget(opening);
        let run_id = pong.run_id.clone();
        Ok((Link { conn, run_id }, pong))
    }

    async fn kill_earlier(&self, link: &Link) -> Result<(), Error> {
        let doomed: Vec<Link> = lock(&self.earlier)
            .iter()
            .filter(|earlier| earlier.run_id == link.run_id)
            .cloned()
            .collect();
        if doomed.is_empty() {
            return Ok(());
        }
        let kill = Command::Kill(doomed.iter().map(|link| link.conn).collect());
        let killed = timeout(CONNECT_TIMEOUT, self.ask(link.conn, kill)).await;
        killed.map_err(|_| silent("to CLIENT KILL"))??;
        lock(&self.earlier).retain(|link| !doomed.contains(link));
        Ok(())
    }

    async fn attempt(&self) -> Result<Pong, Error> {
        let live = lock(&self.live).clone();
        if let Some(live) = live {
            if !self.server.is_over(live.conn) {
                match self.ping_live(&live).await {
                    Err(broken) if broken.kind() == ErrorKind::Unavailable => {}
                    result => return result,
                }
            }
            self.retire(&live);
        }
        let resets = self.resets.load(Ordering::SeqCst);
        let (link, pong) = self.open().await?;
        self.kill_earlier(&link).await?;
        *lock(&self.live) = Some(link.clone());
        if self.resets.load(Ordering::SeqCst) != resets {
            self.retire(&link);
            return Err(unavailable("given up while connecting"));
        }
        Ok(pong)
    }

    async fn ping_live(&self, live: &Link) -> Result<Pong, Error> {
        let ping = async {
            let pong = match self.ask(live.conn, Command::Ping).await? {
                Reply::Pong(pong) => pong,
                other => unreachable!("{other:?} to a ping"),
            };
            self.kill_earlier(live).await?;
            Ok(pong)
        };
        let result = timeout(CONNECT_TIMEOUT, ping).await;
        let result = result.unwrap_or_else(|_| Err(silent("to a ping")));
        if result.is_err() {
            self.retire(live);
        }
        result
    }
}

#[async_trait]
impl CacheBackend for SimBackend {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self.ask_live(Command::Get(key.to_owned())).await? {
            Reply::Found(found) => Ok(found),
            other => unreachable!("{other:?} to a get"),
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        match self.ask_live(Command::GetMany(owned(keys))).await? {
            Reply::FoundMany(found) => Ok(found),
            other => unreachable!("{other:?} to a get_many"),
        }
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        let when = match when {
            When::Always => Condition::Always,
            When::Absent => Condition::Absent,
            When::Matches(beginning) => Condition::Matches(beginning.to_owned()),
            other => unreachable!("{other:?}"),
        };
        let set = Command::Set {
            key: key.to_owned(),
            value,
            ttl,
            when,
        };
        match self.ask_live(set).await? {
            Reply::Set(outcome) => Ok(outcome),
            other => unreachable!("{other:?} to a set"),
        }
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        match self.ask_live(Command::Remove(owned(keys))).await? {
            Reply::Removed(removed) => Ok(removed),
            other => unreachable!("{other:?} to a removal"),
        }
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        let live = self.live()?;
        let (link, _) = self.open().await?;
        let mut side = Side {
            backend: self,
            link,
            idle: true,
        };
        if side.link.run_id != live.run_id {
            return Err(unavailable("the address leads to another server by now"));
        }
        let (mut removed, mut after) = (0, None);
        loop {
            let scan = Command::Scan {
                pattern: pattern.clone(),
                after,
            };
            let Reply::Page { keys, next } = side.ask(scan).await? else {
                unreachable!("no page")
            };
            let keys: Vec<String> = keys
                .into_iter()
                .filter(|key| filter.is_none_or(|filter| filter(key.as_bytes())))
                .collect();
            if !keys.is_empty() {
                let Reply::Removed(more) = side.ask(Command::Remove(keys)).await? else {
                    unreachable!("no count")
                };
                removed += more;
            }
            if next.is_none() {
                return Ok(removed);
            }
            after = next;
        }
    }

    async fn ping(&self) -> Result<Pong, Error> {
        let _turn = self.pinging.lock().await;
        let pong = self.attempt().await?;
        let run = pong.run_id.as_deref().and_then(|id| id.strip_prefix("run"));
        if let Some(run) = run.and_then(|run| run.parse().ok()) {
            self.observer.met(self.process, run);
        }
        Ok(pong)
    }

    fn reset(&self) {
        self.observer.lost(self.process);
        self.resets.fetch_add(1, Ordering::SeqCst);
        let live = lock(&self.live).clone();
        if let Some(live) = live {
            self.retire(&live);
        }
    }
}

impl fmt::Debug for SimBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBackend")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// A connection that is closed unless it comes about.
struct Opening<'a>(&'a SimBackend, ConnId);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.server.hang_up(self.1);
    }
}

/// A connection of a sweep. If it ends while something is under way on it, it is remembered for the next kill.
struct Side<'a> {
    backend: &'a SimBackend,
    link: Link,
    idle: bool,
}

impl Side<'_> {
    async fn ask(&mut self, command: Command) -> Result<Reply, Error> {
        self.idle = false;
        let reply = timeout(SWEEP_TIMEOUT, self.backend.ask(self.link.conn, command)).await;
        let reply = reply.map_err(|_| silent("while removing by pattern"))??;
        self.idle = true;
        Ok(reply)
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        self.backend.server.hang_up(self.link.conn);
        if !self.idle {
            lock(&self.backend.earlier).push(self.link.clone());
        }
    }
}

fn unavailable(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}

fn silent(when: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer in time {when}"))
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn lock<T>(mutex: &SyncMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
