//! One connection: made, asked who is at the other end, and ended on command.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    cmd,
};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::config::{Protocol, RedisConfig};
use super::gather::Gather;
use super::watch::{Telling, Watch};
use super::{error, stream};
use crate::backend::Pong;
use crate::error::{Error, ErrorKind};

/// How many commands may wait for the task that writes them before callers wait too.
const QUEUE: usize = 1024;
/// The key of the write that changes nothing: what is there under the reserved prefix never has this name.
const PROBE_KEY: &str = "dexter-cache:probe";

/// A connection of which the server has told who it is. Dropping it ends it, and fails what is under way on it.
pub(super) struct Connection {
    link: MultiplexedConnection,
    driver: AbortHandle,
    /// Reads of single keys.
    pub(super) gather: Gather,
    /// What names it on the server; `None` where the server does not tell.
    pub(super) mark: Option<Mark>,
    pub(super) run_id: Option<String>,
    /// For how long the server had been running when the connection was made.
    uptime_at_start: Option<Duration>,
    begun: Instant,
    /// How long the first answers took: a round trip and little more.
    pub(super) round_trip: Duration,
    /// The server is older than `SET … NX GET`.
    pub(super) no_nx_get: AtomicBool,
    /// The server is older than `UNLINK`.
    pub(super) no_unlink: AtomicBool,
    /// What tells of changes, where this connection does.
    pub(super) telling: Option<Telling>,
}

/// A connection as the server knows it, so that another connection can end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    client_id: u64,
    /// The client's end as the server sees it.
    peer: Option<String>,
    run_id: Option<String>,
}

impl Mark {
    /// Whether the connection may be alive on the server run `run_id`. Ids start again when a server restarts, so an
    /// id alone, without the same run or the same peer, may be somebody else's.
    pub(super) fn may_live_in(&self, run_id: Option<&str>) -> bool {
        match (self.run_id.as_deref(), run_id) {
            (Some(then), Some(now)) => then == now,
            _ => self.peer.is_some(),
        }
    }

    /// Whether another connection can find out that this one is alive.
    pub(super) fn is_certain(&self) -> bool {
        self.run_id.is_some() || self.peer.is_some()
    }

    /// The command that ends the connection, whatever it still had to say. It answers how many it has ended.
    pub(super) fn kill(&self) -> Cmd {
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(self.client_id);
        if let Some(peer) = &self.peer {
            kill.arg("ADDR").arg(peer);
        }
        kill
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

impl Connection {
    /// Connects, logs in and asks for what the backend has to know. Takes at most `config.connect_timeout`.
    ///
    /// With a `watch` it tells of changes from then on, if the server allows it.
    pub(super) async fn open(
        config: &RedisConfig,
        resp2: &AtomicBool,
        watch: Option<&Watch>,
    ) -> Result<(Self, Pong), Error> {
        match timeout(config.connect_timeout, Self::greet(config, resp2, watch)).await {
            Ok(result) => result,
            Err(_) => Err(error::timeout(config, "while connecting")),
        }
    }

    async fn greet(
        config: &RedisConfig,
        resp2: &AtomicBool,
        watch: Option<&Watch>,
    ) -> Result<(Self, Pong), Error> {
        let insists = config.protocol;
        let old = insists == Some(Protocol::Resp2)
            || (insists.is_none() && resp2.load(Ordering::Relaxed));
        // Only RESP3 has messages that answer no command.
        let mut telling = watch.filter(|_| !old).map(Watch::telling);
        let (protocol, sender) = if old {
            (Protocol::Resp2, None)
        } else {
            (Protocol::Resp3, telling.clone())
        };
        let (link, driver) = match log_in(config, protocol, sender).await? {
            Ok(pair) => pair,
            Err(refused) if !old && insists.is_none() && knows_no_hello(&refused) => {
                // Before Redis 6, and in some proxies. The refused connection is useless, a second one is not.
                let pair = log_in(config, Protocol::Resp2, None).await?;
                telling = None;
                resp2.store(true, Ordering::Relaxed);
                pair.map_err(|refused| error::from_redis(config, &refused))?
            }
            Err(refused) => return Err(error::from_redis(config, &refused)),
        };
        let mut connection = Self {
            gather: Gather::begin(config, link.clone()),
            link,
            driver,
            mark: None,
            run_id: None,
            uptime_at_start: None,
            begun: Instant::now(),
            round_trip: Duration::ZERO,
            no_nx_get: AtomicBool::new(false),
            no_unlink: AtomicBool::new(false),
            telling: None,
        };
        let begun = Instant::now();
        let mut asked = probe();
        asked.cmd("INFO").arg("server");
        asked.cmd("CLIENT").arg("ID");
        asked.cmd("CLIENT").arg("INFO");
        asked.cmd("CLIENT").arg("SETNAME").arg("dexter-cache");
        if let Some(telling) = &telling {
            asked.add_command(telling.command());
        }
        let replies = connection.send_all(config, &asked).await?;
        connection.round_trip = begun.elapsed();
        // Each of these may be forbidden or unknown, and is then done without. The name is for people.
        let [_, _, _, _, server, id, client, _name, tracking @ ..] = replies.as_slice() else {
            return Err(error::unexpected(config, "CLIENT ID"));
        };
        match tracking {
            [Value::Okay] => connection.telling = telling,
            [Value::ServerError(refused)] => tracing::debug!(
                target: crate::telemetry::TARGET,
                server = %config,
                error = %error::from_reply(config, refused),
                "the server does not tell of changes"
            ),
            _ => {}
        }
        let mode = text(server).and_then(|info| field(info, '\n', "redis_mode:"));
        if mode.as_deref() == Some("cluster") {
            // Even where it serves every slot: what takes several keys would be refused.
            return Err(error::cluster(config));
        }
        connection.run_id = text(server).and_then(|info| field(info, '\n', "run_id:"));
        connection.uptime_at_start = text(server)
            .and_then(|info| field(info, '\n', "uptime_in_seconds:"))
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        connection.mark = number(id)
            .and_then(|id| u64::try_from(id).ok())
            .map(|client_id| Mark {
                client_id,
                peer: text(client).and_then(|info| field(info, ' ', "addr=")),
                run_id: connection.run_id.clone(),
            });
        let pong = connection.read_probe(config, &replies)?;
        Ok((connection, pong))
    }

    /// Whether the task that serves the connection has ended: the server closed it, or its runtime is gone.
    pub(super) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    /// Whether changes are told from now on until it is lost. `false` where it was lost before it came into use.
    pub(super) fn begin_use(&self) -> bool {
        self.telling.as_ref().is_none_or(Telling::begin)
    }

    /// Ends it: what is under way fails now, and the socket closes.
    pub(super) fn end(&self) {
        self.driver.abort();
        if let Some(telling) = &self.telling {
            telling.end();
        }
    }

    /// Asks whether the server serves reads and writes, and what time it is.
    pub(super) async fn ping(&self, config: &RedisConfig) -> Result<Pong, Error> {
        let replies = self.send_all(config, &probe()).await?;
        self.read_probe(config, &replies)
    }

    /// One command; an error that the server answers comes back as a value.
    pub(super) async fn send(&self, config: &RedisConfig, command: &Cmd) -> Result<Value, Error> {
        // A clone of the handle is what the client library wants for commands side by side: a few counters.
        let mut link = self.link.clone();
        link.send_packed_command(command)
            .await
            .map_err(|failed| error::from_redis(config, &failed))
    }

    /// Several commands in one go; as many replies.
    pub(super) async fn send_all(
        &self,
        config: &RedisConfig,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Error> {
        let mut link = self.link.clone();
        let count = commands.len();
        link.send_packed_commands(commands, 0, count)
            .await
            .map_err(|failed| error::from_redis(config, &failed))
    }

    fn read_probe(&self, config: &RedisConfig, replies: &[Value]) -> Result<Pong, Error> {
        let [ping, time, hello, write, ..] = replies else {
            return Err(error::unexpected(config, "PING"));
        };
        if let Value::ServerError(refused) = ping {
            return Err(error::from_greeting(config, refused));
        }
        if said(hello, "mode") == Some("cluster") {
            return Err(error::cluster(config));
        }
        if said(hello, "role").is_some_and(|role| role != "master") {
            return Err(error::not_ready(config, "it is a replica"));
        }
        if let Value::ServerError(refused) = write {
            let refused = error::from_reply(config, refused);
            if matches!(refused.kind(), ErrorKind::NotReady | ErrorKind::Config) {
                return Err(refused);
            }
        }
        Ok(Pong {
            clock_ms: clock(time),
            run_id: self.run_id.clone(),
            uptime: self
                .uptime_at_start
                .map(|uptime| uptime.saturating_add(self.begun.elapsed())),
            watching: self.telling.is_some(),
        })
    }
}

/// The commands of a ping. `UNLINK` of a key that does not exist is a write to everything that may refuse writes
/// (replica, full disk, too few replicas), and changes nothing.
fn probe() -> Pipeline {
    let mut probe = redis::pipe();
    probe
        .cmd("PING")
        .cmd("TIME")
        .cmd("HELLO")
        .cmd("UNLINK")
        .arg(PROBE_KEY);
    probe
}

type LogIn = Result<(MultiplexedConnection, AbortHandle), RedisError>;

async fn log_in(
    config: &RedisConfig,
    protocol: Protocol,
    telling: Option<Telling>,
) -> Result<LogIn, Error> {
    let version = match protocol {
        Protocol::Resp2 => ProtocolVersion::RESP2,
        Protocol::Resp3 => ProtocolVersion::RESP3,
    };
    let mut info = RedisConnectionInfo::default()
        .set_db(i64::from(config.db))
        .set_protocol(version)
        .set_lib_name("dexter-cache", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &config.username {
        info = info.set_username(username);
    }
    if let Some(password) = &config.password {
        info = info.set_password(password);
    }
    // Deadlines are the caller's: the library's own would fail a command and leave the connection in use.
    let mut settings = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    if let Some(telling) = telling {
        settings = settings.set_push_sender(telling.sender());
    }
    let stream = stream::connect(config).await?;
    Ok(
        match MultiplexedConnection::new_with_config(&info, stream, settings).await {
            // The task is spawned here and not by the library, so that it can be ended while commands are under way.
            Ok((link, driver)) => Ok((link, tokio::spawn(driver).abort_handle())),
            Err(refused) => Err(refused),
        },
    )
}

fn knows_no_hello(refused: &RedisError) -> bool {
    refused.kind() == redis::ErrorKind::RESP3NotSupported
        || refused.code() == Some("NOPROTO")
        || refused
            .detail()
            .is_some_and(|detail| detail.starts_with("unknown command"))
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        other => text(other)?.parse().ok(),
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

fn clock(time: &Value) -> Option<u64> {
    let Value::Array(parts) = time else {
        return None;
    };
    let [seconds, micros] = parts.as_slice() else {
        return None;
    };
    let (seconds, micros) = (
        u64::try_from(number(seconds)?).ok()?,
        u64::try_from(number(micros)?).ok()?,
    );
    seconds.checked_mul(1000)?.checked_add(micros / 1000)
}

/// What follows `name` in one of the pieces of `info`.
fn field(info: &str, separator: char, name: &str) -> Option<String> {
    info.split(separator)
        .find_map(|piece| piece.strip_prefix(name))
        .map(|value| value.trim().to_owned())
}

/// What `HELLO` said of `name`, in a map in RESP3 and in a flat list in RESP2.
fn said<'v>(hello: &'v Value, name: &str) -> Option<&'v str> {
    let value = match hello {
        Value::Map(pairs) => pairs
            .iter()
            .find(|(key, _)| text(key) == Some(name))
            .map(|(_, value)| value),
        Value::Array(items) => items
            .chunks_exact(2)
            .find(|pair| text(&pair[0]) == Some(name))
            .map(|pair| &pair[1]),
        _ => None,
    };
    text(value?)
}
