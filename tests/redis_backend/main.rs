//! The Redis backend against real servers, whole and broken.

mod commands;
mod fences;
mod gathered;
mod life;
mod old_servers;
mod refusals;
mod sweeps;
mod watching;

use std::time::Duration;

use bytes::Bytes;
use dexter_cache::backend::{CacheBackend, RedisBackend, RedisConfig, SetOutcome, When};
use dexter_cache::{Error, ErrorKind};
use support::{PATIENCE as BOUND, RedisServer};

const MINUTE: Duration = Duration::from_secs(60);

/// A backend with the deadlines of a busy machine, where the test is not about deadlines.
fn backend(url: &str) -> RedisBackend {
    let config = RedisConfig::parse(url).unwrap();
    RedisBackend::new(config.connect_timeout(BOUND).sweep_timeout(BOUND))
}

/// A backend that gives up soon, for peers that hang. It may do so with good ones on a busy machine: see [`heal`].
fn hasty(url: &str) -> RedisBackend {
    let config = RedisConfig::parse(url).unwrap();
    RedisBackend::new(config.connect_timeout(Duration::from_millis(700)))
}

/// A backend that is connected to `server`.
async fn connected(server: &RedisServer) -> RedisBackend {
    let backend = backend(&server.url());
    backend.ping().await.unwrap();
    backend
}

async fn set(backend: &RedisBackend, key: &str, value: &'static str) -> Result<SetOutcome, Error> {
    backend
        .set(
            key,
            Bytes::from_static(value.as_bytes()),
            MINUTE,
            When::Always,
        )
        .await
}

async fn set_when(
    backend: &RedisBackend,
    key: &str,
    value: &'static str,
    when: When<'_>,
) -> Result<SetOutcome, Error> {
    backend
        .set(key, Bytes::from_static(value.as_bytes()), MINUTE, when)
        .await
}

async fn get(backend: &RedisBackend, key: &str) -> Result<Option<String>, Error> {
    let value = backend.get(key).await?;
    Ok(value.map(|value| String::from_utf8(value.into()).unwrap()))
}

/// Pings until it works, as the cache does after an outage.
async fn heal(backend: &RedisBackend) {
    let healed = tokio::time::timeout(BOUND, async {
        while backend.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    healed.await.expect("the connection heals");
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.expect_err("it fails").kind()
}
