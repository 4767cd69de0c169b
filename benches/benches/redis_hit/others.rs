//! Other caches over Redis, and other clients.

use std::sync::OnceLock;
use std::time::Duration;

use benches::{ApiError, Issue};
use cached::AsyncRedisCache;
use cached::macros::concurrent_cached;
use fred::interfaces::{ClientLike, KeysInterface};
use hitbox::policy::PolicyConfig;
use hitbox_fn::Cache;
use hitbox_redis::{ConnectionMode, RedisBackend};
use rustis::commands::StringCommands;
use rustis::resp::BulkString;

use crate::bare_key;
use crate::hitbox_answer::Answer;

static URL: OnceLock<String> = OnceLock::new();
static HITBOX: OnceLock<Cache<RedisBackend>> = OnceLock::new();

pub(crate) struct Others {
    pub(crate) fred: fred::clients::Client,
    pub(crate) rustis: rustis::client::Client,
}

/// Connects all of them to one server.
pub(crate) async fn connect(url: &str) -> Others {
    URL.set(url.to_owned()).expect("one server");
    let backend = RedisBackend::builder()
        .connection(ConnectionMode::single(url))
        .build()
        .expect("an address");
    let policy = PolicyConfig::builder().ttl(Duration::from_hours(1)).build();
    let cache = Cache::builder().backend(backend).policy(policy).build();
    assert!(HITBOX.set(cache).is_ok(), "one server");
    let config = fred::types::config::Config::from_url(url).expect("an address");
    let fred = fred::types::Builder::from_config(config)
        .build()
        .expect("a client");
    fred.init().await.expect("a connection");
    let rustis = rustis::client::Client::connect(url)
        .await
        .expect("a connection");
    Others { fred, rustis }
}

/// Pipelines by itself.
pub(crate) async fn fred(client: fred::clients::Client, id: u64) -> u64 {
    let bytes: bytes::Bytes = client.get(bare_key(id)).await.expect("the value");
    let issue: Issue = serde_json::from_slice(&bytes).expect("an issue");
    issue.id
}

/// Pipelines by itself.
pub(crate) async fn rustis(client: rustis::client::Client, id: u64) -> u64 {
    let bytes: BulkString = client.get(bare_key(id)).await.expect("the value");
    let issue: Issue = serde_json::from_slice(bytes.as_bytes()).expect("an issue");
    issue.id
}

#[concurrent_cached(
    key = "String",
    convert = { format!("id={id}&path={path}") },
    map_error = |_| ApiError,
    ty = "AsyncRedisCache<String, Issue>",
    create = {
        AsyncRedisCache::builder("redis_hit")
            .ttl(Duration::from_hours(1))
            .connection_string(URL.get().expect("a server"))
            .build()
            .await
            .expect("a cache")
    }
)]
#[expect(clippy::unused_async, reason = "a load is async")]
async fn cached_issue(path: &str, id: u64) -> Result<Issue, ApiError> {
    let _ = path;
    Ok(Issue::sample(id))
}

pub(crate) async fn through_cached(id: u64) -> u64 {
    let issue = cached_issue("/api/v1/issues", id).await;
    issue.expect("an issue").id
}

#[hitbox_fn::cached(prefix = "redis_hit")]
async fn hitbox_issue(path: String, id: u64) -> Result<Answer<Issue>, ApiError> {
    let _ = path;
    Ok(Answer(Issue::sample(id)))
}

pub(crate) async fn through_hitbox(id: u64) -> u64 {
    let cache = HITBOX.get().expect("a server");
    let answer = hitbox_issue("/api/v1/issues".to_owned(), id)
        .cache(cache)
        .await;
    answer.expect("an issue").0.id
}
