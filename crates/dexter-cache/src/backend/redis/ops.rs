//! Reads, writes and removals of single keys.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value, cmd};

use super::backend::RedisBackend;
use super::config::RedisConfig;
use super::connection::Connection;
use super::error;
use super::scripts::{SET_IF_PREFIX, SET_UNLESS_READABLE, Stored};
use crate::backend::{SetOutcome, When};
use crate::error::{Error, ErrorKind};

/// Keys in one command: the server serves others between commands, and a packet holds about as many.
pub(super) const BATCH: usize = 500;
/// Redis takes no more than fits its clock; nobody waits for the difference.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What one read is answered with.
pub(super) type Reading<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Bytes>, Error>> + Send + 'a>>;

/// A read in a box of its size: the one that is gathered with others needs a quarter of what a command of its own does.
pub(super) fn get<'a>(backend: &'a RedisBackend, key: &'a str) -> Reading<'a> {
    let config = backend.config();
    match backend.live() {
        Ok(live) if live.gather.is_worth_it() => Box::pin(get_with_others(config, live, key)),
        Ok(live) => Box::pin(get_alone(config, live, key)),
        Err(away) => Box::pin(ready(Err(away))),
    }
}

async fn get_with_others(
    config: &RedisConfig,
    live: Arc<Connection>,
    key: &str,
) -> Result<Option<Bytes>, Error> {
    let under_way = live.gather.enter();
    match live.gather.get(config, key).await {
        // Some servers know no such command, or have it under another name.
        Err(refused) if matches!(refused.kind(), ErrorKind::Denied | ErrorKind::Backend) => {
            live.gather.deny();
        }
        other => return other,
    }
    drop(under_way);
    Box::pin(get_alone(config, live, key)).await
}

async fn get_alone(
    config: &RedisConfig,
    live: Arc<Connection>,
    key: &str,
) -> Result<Option<Bytes>, Error> {
    let _under_way = live.gather.enter();
    let mut get = cmd("GET");
    get.arg(key);
    value(config, live.send(config, &get).await?, "GET")
}

pub(super) async fn get_many(
    backend: &RedisBackend,
    keys: &[&str],
) -> Result<Vec<Option<Bytes>>, Error> {
    let config = backend.config();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut reads = redis::pipe();
    for batch in keys.chunks(BATCH) {
        reads.cmd("MGET").arg(batch);
    }
    let mut values = Vec::with_capacity(keys.len());
    for reply in backend.live()?.send_all(config, &reads).await? {
        match reply {
            Value::Array(items) => {
                for item in items {
                    values.push(value(config, item, "MGET")?);
                }
            }
            Value::ServerError(refused) => return Err(error::from_reply(config, &refused)),
            _ => return Err(error::unexpected(config, "MGET")),
        }
    }
    if values.len() == keys.len() {
        Ok(values)
    } else {
        Err(error::unexpected(config, "MGET"))
    }
}

pub(super) async fn set(
    backend: &RedisBackend,
    key: &str,
    value: &[u8],
    ttl: Duration,
    when: When<'_>,
) -> Result<SetOutcome, Error> {
    let write = Write {
        backend,
        key,
        value,
        ttl: millis(ttl),
    };
    match when {
        When::Always => {
            backend.ask(&write.command()).await?;
            Ok(SetOutcome::Stored)
        }
        When::Absent => write.absent().await,
        When::Matches(prefix) => write.matches(prefix).await,
    }
}

pub(super) async fn remove(backend: &RedisBackend, keys: &[&str]) -> Result<u64, Error> {
    if keys.is_empty() {
        return Ok(0);
    }
    let config = backend.config();
    let live = backend.live()?;
    let replies = live.send_all(config, &removals(&live, keys)).await?;
    if let Some(count) = removed(config, &live, &replies)? {
        return Ok(count);
    }
    // The server did not know the command; `removals` names another now.
    let replies = live.send_all(config, &removals(&live, keys)).await?;
    removed(config, &live, &replies)?.ok_or_else(|| error::unexpected(config, "DEL"))
}

/// The commands that remove `keys`.
pub(super) fn removals<K: redis::ToRedisArgs + Sync>(
    connection: &Connection,
    keys: &[K],
) -> redis::Pipeline {
    // DEL frees large values while everybody waits; before Redis 4 there is nothing else.
    let name = if connection.no_unlink.load(Ordering::Relaxed) {
        "DEL"
    } else {
        "UNLINK"
    };
    let mut removals = redis::pipe();
    for batch in keys.chunks(BATCH) {
        removals.cmd(name).arg(batch);
    }
    removals
}

/// How many keys the commands of [`removals`] have removed. `None` if the server does not know `UNLINK`: nothing was
/// removed then, and the connection has learnt it.
pub(super) fn removed(
    config: &RedisConfig,
    connection: &Connection,
    replies: &[Value],
) -> Result<Option<u64>, Error> {
    let mut count = 0;
    for reply in replies {
        match reply {
            Value::Int(some) => count += u64::try_from(*some).unwrap_or(0),
            Value::ServerError(refused)
                if is_unknown_command(refused)
                    && !connection.no_unlink.swap(true, Ordering::Relaxed) =>
            {
                return Ok(None);
            }
            Value::ServerError(refused) => return Err(error::from_reply(config, refused)),
            _ => return Err(error::unexpected(config, "UNLINK")),
        }
    }
    Ok(Some(count))
}

/// One value on its way to one key.
struct Write<'a> {
    backend: &'a RedisBackend,
    key: &'a str,
    value: &'a [u8],
    ttl: u64,
}

impl Write<'_> {
    fn command(&self) -> Cmd {
        let mut set = cmd("SET");
        set.arg(self.key).arg(self.value).arg("PX").arg(self.ttl);
        set
    }

    /// `SET … NX GET` does it in one command. A server before Redis 7 and a key of another type take a script.
    async fn absent(&self) -> Result<SetOutcome, Error> {
        let config = self.backend.config();
        let live = self.backend.live()?;
        if live.no_nx_get.load(Ordering::Relaxed) {
            return self.absent_by_script(&live).await;
        }
        let mut set = self.command();
        set.arg("NX").arg("GET");
        match live.send(config, &set).await? {
            Value::ServerError(refused) if refused.code() == "WRONGTYPE" => {
                match self.absent_by_script(&live).await {
                    Err(denied) if denied.kind() == ErrorKind::Denied => {
                        self.absent_without_script(&live, &set).await
                    }
                    other => other,
                }
            }
            Value::ServerError(refused) if is_syntax_error(&refused) => {
                live.no_nx_get.store(true, Ordering::Relaxed);
                self.absent_by_script(&live).await
            }
            Value::ServerError(refused) => Err(error::from_reply(config, &refused)),
            reply => Ok(outcome(value(config, reply, "SET")?)),
        }
    }

    async fn absent_by_script(&self, live: &Connection) -> Result<SetOutcome, Error> {
        let reply = self.eval(live, &SET_UNLESS_READABLE, &[]).await?;
        Ok(outcome(value(self.backend.config(), reply, "EVAL")?))
    }

    /// Without the right to run scripts: what is in the way is removed first. If somebody writes a value at that very
    /// moment, that value may be removed instead, which costs a load and nothing else.
    async fn absent_without_script(
        &self,
        live: &Connection,
        set: &Cmd,
    ) -> Result<SetOutcome, Error> {
        let config = self.backend.config();
        let replies = live.send_all(config, &removals(live, &[self.key])).await?;
        removed(config, live, &replies)?;
        match live.send(config, set).await? {
            Value::ServerError(refused) => Err(error::from_reply(config, &refused)),
            reply => Ok(outcome(value(config, reply, "SET")?)),
        }
    }

    async fn matches(&self, prefix: &[u8]) -> Result<SetOutcome, Error> {
        let live = self.backend.live()?;
        match self.eval(&live, &SET_IF_PREFIX, &[prefix]).await? {
            Value::Int(1) => Ok(SetOutcome::Stored),
            Value::Int(_) => Ok(SetOutcome::Refused(None)),
            _ => Err(error::unexpected(self.backend.config(), "EVAL")),
        }
    }

    /// By its name, and by its text where the server has not seen it (or has forgotten it: it may at any time).
    async fn eval(
        &self,
        live: &Connection,
        script: &Stored,
        more: &[&[u8]],
    ) -> Result<Value, Error> {
        let config = self.backend.config();
        let command = |name: &str, script: &str| {
            let mut eval = cmd(name);
            eval.arg(script)
                .arg(1)
                .arg(self.key)
                .arg(self.value)
                .arg(self.ttl)
                .arg(more);
            eval
        };
        let mut reply = live.send(config, &command("EVALSHA", &script.hash)).await?;
        if matches!(&reply, Value::ServerError(refused) if refused.code() == "NOSCRIPT") {
            reply = live.send(config, &command("EVAL", script.text)).await?;
        }
        match reply {
            Value::ServerError(refused) => Err(error::from_reply(config, &refused)),
            reply => Ok(reply),
        }
    }
}

/// What a command that gives back the old value has done.
fn outcome(there: Option<Bytes>) -> SetOutcome {
    match there {
        None => SetOutcome::Stored,
        Some(there) => SetOutcome::Refused(Some(there)),
    }
}

pub(super) fn value(
    config: &RedisConfig,
    reply: Value,
    what: &str,
) -> Result<Option<Bytes>, Error> {
    match reply {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        Value::ServerError(refused) => Err(error::from_reply(config, &refused)),
        _ => Err(error::unexpected(config, what)),
    }
}

/// Whole milliseconds, upwards, in the range that Redis takes: zero is an error there.
fn millis(ttl: Duration) -> u64 {
    let ttl = ttl.min(LONGEST);
    let whole = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    if ttl.subsec_nanos().is_multiple_of(1_000_000) {
        whole.max(1)
    } else {
        whole + 1
    }
}

fn is_unknown_command(refused: &redis::ServerError) -> bool {
    refused
        .details()
        .is_some_and(|text| text.starts_with("unknown command"))
}

fn is_syntax_error(refused: &redis::ServerError) -> bool {
    refused
        .details()
        .is_some_and(|text| text.contains("syntax error"))
}
