//! [`RedisConfig`]: where the server is, and how long it may take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::url;
use crate::error::Error;

/// Where a Redis server is, who asks, and how long connecting and sweeping may take.
///
/// # Addresses
///
/// | form | meaning |
/// |---|---|
/// | `redis://host`, `redis://host:6379/3` | TCP; the path is the database, 0 if left out |
/// | `redis://:password@host`, `redis://user:password@host` | credentials, percent-encoded where they hold `/ ? # @ % :` |
/// | `redis://[::1]:6379` | IPv6 in brackets |
/// | `host:6379` | as with `redis://` in front |
/// | `unix:///run/redis.sock?db=3&user=u&pass=p` | a Unix socket; also `redis+unix://`, `redis-socket://` |
/// | `…?protocol=2` | RESP2 only; otherwise RESP3, falling back to RESP2 where the server does not know it |
///
/// `valkey://` and `valkey+unix://` mean the same as their `redis` namesakes. Any other query key is an error, and so
/// are TLS, cluster and Sentinel addresses, which this version does not speak.
///
/// Neither `Debug` nor `Display` nor any error shows the password.
///
/// # Examples
///
/// ```
/// use dexter_cache::backend::RedisConfig;
///
/// let config = RedisConfig::parse("redis://:secret@cache.internal/3")?;
/// assert_eq!(config.to_string(), "redis://cache.internal:6379/3");
///
/// let error = RedisConfig::parse("redis://cache.internal/?db=3").unwrap_err();
/// assert!(error.to_string().contains("redis://host:6379/3"));
/// # Ok::<(), dexter_cache::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    pub(super) address: Address,
    pub(super) db: u32,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) protocol: Option<Protocol>,
    pub(super) connect_timeout: Duration,
    pub(super) sweep_timeout: Duration,
    pub(super) sweep_count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(String),
}

/// The version that an address insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Resp2,
    Resp3,
}

impl RedisConfig {
    /// Reads an address in one of the forms above. No I/O happens here.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config), with a message that says what to write instead.
    pub fn parse(url: &str) -> Result<Self, Error> {
        url::parse(url)
    }

    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            db: 0,
            username: None,
            password: None,
            protocol: None,
            connect_timeout: Duration::from_secs(1),
            sweep_timeout: Duration::from_millis(250),
            sweep_count: 1000,
        }
    }

    /// How long making a connection may take in all: name look-up, TCP, log-in and the first answers. 1 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long the server may take for one answer while keys are removed by pattern. 250 ms by default.
    #[must_use]
    pub fn sweep_timeout(mut self, limit: Duration) -> Self {
        self.sweep_timeout = limit;
        self
    }

    /// How many keys the server looks at for one answer while keys are removed by pattern, at most. 1000 by default:
    /// more keeps other clients waiting, fewer takes more round trips. Where answers are slow, fewer are asked for.
    #[must_use]
    pub fn sweep_count(mut self, keys: u32) -> Self {
        self.sweep_count = keys.max(1);
        self
    }
}

impl FromStr for RedisConfig {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::parse(url)
    }
}

/// The address without credentials, as it stands in logs.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => {
                write!(f, "redis://[{host}]:{port}/{}", self.db)
            }
            Address::Tcp { host, port } => write!(f, "redis://{host}:{port}/{}", self.db),
            Address::Unix(path) if self.db == 0 => write!(f, "unix://{path}"),
            Address::Unix(path) => write!(f, "unix://{path}?db={}", self.db),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("address", &self.to_string())
            .field("db", &self.db)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "<hidden>"))
            .field("protocol", &self.protocol)
            .field("connect_timeout", &self.connect_timeout)
            .field("sweep_timeout", &self.sweep_timeout)
            .field("sweep_count", &self.sweep_count)
            .finish()
    }
}
