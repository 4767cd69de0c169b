//! [`RedisBackend`]: which connection is in use, and how it is replaced.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::{Protocol, RedisConfig};
use super::connection::{Connection, Mark};
use super::watch::Watch;
use super::{error, ops, sweep};
use crate::backend::{CacheBackend, Capabilities, KeyFilter, Pong, SetOutcome, Watcher, When};
use crate::error::{Error, ErrorKind};
use crate::pattern::KeyPattern;

/// Connections that may be alive on a server are remembered up to this number.
const REMEMBERED: usize = 64;
/// How long a ping waits for the attempt of another one, and what a sweep in progress may take for anything besides its
/// deadlines. Longer than that takes only a task of a runtime that stands still; it must not keep others waiting for ever.
const TURN: Duration = Duration::from_secs(3);

/// A standalone Redis, or what speaks its protocol.
///
/// It does no I/O on its own: [`ping`](CacheBackend::ping) makes the connection, and makes another when the first is
/// gone. Between the two every operation fails at once with [`Unavailable`](ErrorKind::Unavailable). A connection
/// lives on the Tokio runtime that pinged; when that runtime has ended, a ping on another one reconnects.
///
/// The backend takes no deadline of its own for reads and writes, since the cache has one around each call. Before a
/// new connection is used, those that came before are ended on the server (`CLIENT KILL`), so nothing that was under
/// way on them can take effect later.
///
/// # Rights
///
/// A user of Redis' access control needs `GET`, `MGET`, `SET`, `UNLINK`, `PING` and `SCAN`. `EVAL` and `EVALSHA` are
/// for conditional writes: without them [`When::Matches`] is [`Denied`](ErrorKind::Denied). `INFO` and `TIME` tell
/// the run and the clock in a [`Pong`]. `CLIENT TRACKING` tells of changes ([`watch`](CacheBackend::watch)). Without
/// `CLIENT KILL` and `CLIENT ID` (Redis 5), and either `INFO` or `CLIENT INFO` (Redis 6.2), a write that hung in the network
/// can land after the recovery; one warning is logged.
///
/// # Cost
///
/// One command and one round trip for each of `get`, `set` and `remove`; a conditional write that meets another data
/// type takes two. `get_many` and `remove` send 500 keys in a command and all commands at once. Where many callers `get`
/// at the same time, about fifty and more, those that come together share one `MGET`; for them a key of another data type
/// is one that is not there.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), dexter_cache::Error> {
/// use dexter_cache::backend::{CacheBackend, RedisBackend, RedisConfig};
///
/// let backend = RedisBackend::new(RedisConfig::parse("redis://localhost:6379/0")?);
/// backend.ping().await?;
/// assert_eq!(backend.get("no such key").await?, None);
/// # Ok(())
/// # }
/// ```
pub struct RedisBackend {
    config: RedisConfig,
    live: ArcSwapOption<Connection>,
    /// What an operation without a connection gives back; made once, so that an outage costs nothing.
    absent: Error,
    attempt: Mutex<Attempt>,
    /// Numbers the calls of `ping`.
    pings: AtomicU64,
    /// Counts the calls of `reset`: a connection that was begun before one is not published after it.
    resets: AtomicU64,
    /// Earlier connections that the server may still hold.
    earlier: SyncMutex<VecDeque<Mark>>,
    /// Held by the one sweep that runs.
    sweeping: Mutex<()>,
    /// Counts the steps of sweeps.
    swept: AtomicU64,
    resp2: AtomicBool,
    kill_denied: AtomicBool,
    /// What the connection in use tells of, and to whom.
    watch: OnceLock<Watch>,
}

/// The last attempt to connect or to ping that came to its end.
#[derive(Default)]
struct Attempt {
    /// Pings with a number below this had been called when it began: its result is theirs too.
    covers: u64,
    result: Option<Result<Pong, Error>>,
}

impl RedisBackend {
    /// A backend for the server that `config` names. Does no I/O: the server need not be there.
    pub fn new(config: RedisConfig) -> Self {
        let absent = error::unavailable(&config, "not connected");
        Self {
            config,
            live: ArcSwapOption::empty(),
            absent,
            attempt: Mutex::default(),
            pings: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            earlier: SyncMutex::default(),
            sweeping: Mutex::default(),
            swept: AtomicU64::new(0),
            resp2: AtomicBool::new(false),
            kill_denied: AtomicBool::new(false),
            watch: OnceLock::new(),
        }
    }

    pub(super) fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// The connection in use.
    pub(super) fn live(&self) -> Result<Arc<Connection>, Error> {
        self.live.load_full().ok_or_else(|| self.absent.clone())
    }

    /// Runs one command on the connection in use, and hands on an error that the server answers.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Error> {
        match self.live()?.send(&self.config, command).await? {
            Value::ServerError(refused) => Err(error::from_reply(&self.config, &refused)),
            value => Ok(value),
        }
    }

    /// Makes a connection for a sweep, to the server run that the connection in use goes to.
    pub(super) async fn side_connection(&self) -> Result<Side<'_>, Error> {
        let live = self.live()?;
        let opened = Connection::open(&self.config, &self.resp2, None).await;
        let (connection, _) = opened.map_err(|error| match error.kind() {
            // The password has changed since the other connection logged in. That refuses all work and not this piece
            // of it: it may be done once the password is right again.
            ErrorKind::Denied => {
                let why = format!("{}: a second log-in is refused", self.config);
                Error::with_source(ErrorKind::Unavailable, why, error)
            }
            _ => error,
        })?;
        if connection.run_id != live.run_id {
            return Err(error::unavailable(
                &self.config,
                "the address leads to another server by now",
            ));
        }
        Ok(Side {
            backend: self,
            connection,
            idle: true,
        })
    }

    /// Takes a connection out of use, if it still is in use, and remembers it for the next kill.
    fn retire(&self, connection: &Arc<Connection>) {
        let current = self.live.compare_and_swap(connection, None);
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, connection))
        {
            self.remember(connection);
            connection.end();
        }
    }

    fn remember(&self, connection: &Connection) {
        if let Some(mark) = &connection.mark {
            let mut earlier = self.earlier();
            earlier.push_back(mark.clone());
            if earlier.len() > REMEMBERED {
                earlier.pop_front();
            }
        }
    }

    fn earlier(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self) -> Result<Pong, Error> {
        if let Some(live) = self.live.load_full() {
            if !live.is_over() {
                match self.ping_live(&live).await {
                    // It had broken off and nobody had noticed: no reason to leave the next one to the next ping.
                    Err(broken) if broken.kind() == ErrorKind::Unavailable => {}
                    result => return result,
                }
            }
            self.retire(&live);
        }
        let resets = self.resets.load(Ordering::SeqCst);
        // The server may have been replaced by one that knows more.
        self.resp2.store(false, Ordering::Relaxed);
        let (connection, pong) =
            Connection::open(&self.config, &self.resp2, self.watch.get()).await?;
        self.kill_earlier(&connection).await?;
        if !connection.mark.as_ref().is_some_and(Mark::is_certain) {
            self.warn_unkilled("the server does not tell its connections apart");
        }
        if !connection.begin_use() {
            return Err(error::unavailable(&self.config, "lost while connecting"));
        }
        let connection = Arc::new(connection);
        let nothing = None::<Arc<Connection>>;
        let there = self
            .live
            .compare_and_swap(&nothing, Some(connection.clone()));
        if there.is_some() {
            // This attempt stood still, and another one did not wait for it.
            let why = "another connection has come into use meanwhile";
            return Err(error::unavailable(&self.config, why));
        }
        // Published first and looked at afterwards: a `reset` that came in between has either been seen here, or has
        // found the connection.
        if self.resets.load(Ordering::SeqCst) != resets {
            self.retire(&connection);
            return Err(error::unavailable(
                &self.config,
                "given up while connecting",
            ));
        }
        tracing::debug!(target: crate::telemetry::TARGET, server = %self.config, run_id = pong.run_id, "connected to Redis");
        Ok(pong)
    }

    async fn ping_live(&self, live: &Arc<Connection>) -> Result<Pong, Error> {
        let ping = async {
            let pong = live.ping(&self.config).await?;
            self.kill_earlier(live).await?;
            Ok(pong)
        };
        let result = match timeout(self.config.connect_timeout, ping).await {
            Ok(result) => result,
            Err(_) => Err(error::timeout(&self.config, "to a ping")),
        };
        if result.is_err() {
            // The name may lead to another server by now, so each attempt after a failure is a fresh one.
            self.retire(live);
        }
        result
    }

    fn warn_unkilled(&self, why: &str) {
        if !self.kill_denied.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: crate::telemetry::TARGET,
                server = %self.config,
                "{why}: a write that hung in the network may land late"
            );
        }
    }

    /// Waits for the sweep that runs, for as long as it gets on.
    async fn turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let step = self
            .config
            .connect_timeout
            .saturating_add(self.config.sweep_timeout);
        loop {
            let before = self.swept.load(Ordering::SeqCst);
            match timeout(step.saturating_add(TURN), self.sweeping.lock()).await {
                Ok(turn) => return Some(turn),
                Err(_) if self.swept.load(Ordering::SeqCst) == before => return None,
                Err(_) => {}
            }
        }
    }

    /// Ends on the server what earlier connections have left there.
    async fn kill_earlier(&self, connection: &Connection) -> Result<(), Error> {
        let run_id = connection.run_id.as_deref();
        let doomed: Vec<Mark> = self
            .earlier()
            .iter()
            .filter(|mark| mark.may_live_in(run_id))
            .cloned()
            .collect();
        if doomed.is_empty() {
            return Ok(());
        }
        let mut kills = redis::pipe();
        for mark in &doomed {
            kills.add_command(mark.kill());
        }
        let deadline = self.config.connect_timeout;
        let replies = timeout(deadline, connection.send_all(&self.config, &kills)).await;
        let replies = replies.map_err(|_| error::timeout(&self.config, "to CLIENT KILL"))??;
        for reply in replies {
            let Value::ServerError(refused) = reply else {
                continue;
            };
            let refused = error::from_reply(&self.config, &refused);
            match refused.kind() {
                // An older server says so where it does not find the connection.
                ErrorKind::Backend => {}
                ErrorKind::Denied => self.warn_unkilled("this user may not run CLIENT KILL"),
                _ => return Err(refused),
            }
        }
        self.earlier().retain(|mark| !doomed.contains(mark));
        Ok(())
    }
}

#[async_trait]
impl CacheBackend for RedisBackend {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    // As `async fn get(&self, key: &str)` is written by the attribute, but for the box.
    fn get<'this, 'key, 'read>(&'this self, key: &'key str) -> ops::Reading<'read>
    where
        'this: 'read,
        'key: 'read,
        Self: 'read,
    {
        ops::get(self, key)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        ops::get_many(self, keys).await
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        ops::set(self, key, &value, ttl, when).await
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        ops::remove(self, keys).await
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        // A sweep walks the whole database: two at once take as long and keep the server twice as busy.
        let _turn = self.turn().await;
        sweep::remove_matching(self, pattern, filter).await
    }

    async fn ping(&self) -> Result<Pong, Error> {
        let number = self.pings.fetch_add(1, Ordering::SeqCst);
        let Ok(mut last) = timeout(TURN, self.attempt.lock()).await else {
            return self.attempt().await;
        };
        if let Some(result) = &last.result
            && number < last.covers
        {
            return result.clone();
        }
        let covers = self.pings.load(Ordering::SeqCst);
        let result = self.attempt().await;
        *last = Attempt {
            covers,
            result: Some(result.clone()),
        };
        result
    }

    /// By `CLIENT TRACKING … BCAST` on the connection that reads: Redis appends what changed to what it sends before it
    /// appends the answers to later commands. It takes RESP3, so Redis 6, and the right to `CLIENT TRACKING`.
    fn watch(&self, prefix: &str, watcher: Weak<dyn Watcher>) -> bool {
        self.config.protocol != Some(Protocol::Resp2)
            && self.watch.set(Watch::new(prefix, watcher)).is_ok()
    }

    fn reset(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
        if let Some(live) = self.live.load_full() {
            self.retire(&live);
        }
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("config", &self.config)
            .field(
                "connected",
                &self
                    .live
                    .load()
                    .as_ref()
                    .is_some_and(|live| !live.is_over()),
            )
            .finish_non_exhaustive()
    }
}

/// A connection beside the one in use. If it ends while something is under way on it, it is remembered for the next
/// kill.
pub(super) struct Side<'a> {
    backend: &'a RedisBackend,
    connection: Connection,
    idle: bool,
}

impl Side<'_> {
    pub(super) fn round_trip(&self) -> Duration {
        self.connection.round_trip
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends commands and waits for all replies, each command's under the deadline of a sweep.
    pub(super) async fn send_all(
        &mut self,
        commands: &redis::Pipeline,
    ) -> Result<Vec<Value>, Error> {
        let config = &self.backend.config;
        self.idle = false;
        let replies = timeout(
            config.sweep_timeout,
            self.connection.send_all(config, commands),
        )
        .await;
        let replies =
            replies.map_err(|_| error::timeout(config, "while removing by pattern"))??;
        self.idle = true;
        self.backend.swept.fetch_add(1, Ordering::SeqCst);
        Ok(replies)
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        if !self.idle {
            self.backend.remember(&self.connection);
        }
    }
}
