//! Other caches in memory in front of Redis.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use amalgam::EntryOptions;
use amalgam::provider::{
    DistributedCache, DistributedSerializer, JsonSerializer, RedisDistributedCache,
};
use benches::{ApiError, Issue};
use cached::AsyncRedisCache;
use cached::macros::concurrent_cached;
use hitbox::offload::OffloadManager;
use hitbox::policy::PolicyConfig;
use hitbox_backend::composition::{Compose, CompositionBackend};
use hitbox_backend::format::BincodeFormat;
use hitbox_fn::Cache;
use hitbox_moka::MokaBackend;
use hitbox_redis::{ConnectionMode, RedisBackend};
use multi_tier_cache::serialization::BincodeSerializer;
use multi_tier_cache::{
    CacheManager, CacheSerializer, CacheStrategy, MokaCache, MokaCacheConfig, RedisCache,
};
use redis::aio::MultiplexedConnection;
use rustis::commands::ClientTrackingOptions;
use rustis::resp::BulkString;

use crate::hitbox_answer::Answer;

const HOUR: Duration = Duration::from_hours(1);
const CAPACITY: u64 = 100_000;

static URL: OnceLock<String> = OnceLock::new();
static AMALGAM: OnceLock<amalgam::Cache<Issue>> = OnceLock::new();
static MULTI_TIER: OnceLock<CacheManager> = OnceLock::new();

pub(crate) struct Others {
    pub(crate) rustis: Arc<rustis::cache::Cache>,
    pub(crate) redis: MultiplexedConnection,
}

/// Connects all of them to one server, which gets the values of the bare clients.
pub(crate) async fn connect(url: &str, keys: u64) -> Others {
    URL.set(url.to_owned()).expect("one server");
    let l2 = RedisDistributedCache::connect(url).await;
    let l2 = Arc::new(l2.expect("a connection")) as Arc<dyn DistributedCache>;
    let codec = Arc::new(JsonSerializer) as Arc<dyn DistributedSerializer<Issue>>;
    let amalgam = amalgam::Cache::builder()
        .max_capacity(CAPACITY)
        .default_options(EntryOptions::default().with_duration(HOUR))
        .distributed(l2)
        .serializer(codec)
        .try_build()
        .expect("a cache");
    assert!(AMALGAM.set(amalgam).is_ok(), "one server");

    let config = MokaCacheConfig {
        max_capacity: CAPACITY,
        time_to_live: HOUR,
        time_to_idle: HOUR,
    };
    let l1 = Arc::new(MokaCache::new(config).expect("a cache in memory"));
    let l2 = Arc::new(RedisCache::with_url(url).await.expect("a connection"));
    let mut manager = CacheManager::new_with_backends(l1, l2, None).expect("two tiers");
    manager.set_serializer(CacheSerializer::Bincode(BincodeSerializer));
    assert!(MULTI_TIER.set(manager).is_ok(), "one server");

    let client = rustis::client::Client::connect(url)
        .await
        .expect("a connection");
    let tracking = ClientTrackingOptions::default().broadcasting().noloop();
    let rustis = rustis::cache::Cache::new(client, 3600, tracking)
        .await
        .expect("tracking");

    let client = redis::Client::open(format!("{url}?protocol=resp3")).expect("an address");
    let config = redis::AsyncConnectionConfig::new()
        .set_cache_config(redis::caching::CacheConfig::new().set_default_client_ttl(HOUR));
    let mut redis = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .expect("a connection");
    for id in 0..keys {
        let json = serde_json::to_vec(&Issue::sample(id)).expect("JSON");
        let set: redis::RedisResult<()> =
            redis::AsyncCommands::set(&mut redis, bare_key(id), json).await;
        set.expect("stored");
    }
    Others { rustis, redis }
}

fn bare_key(id: u64) -> String {
    format!("bare:id={id}&path=/api/v1/issues")
}

pub(crate) async fn rustis(cache: Arc<rustis::cache::Cache>, id: u64) -> u64 {
    let bytes: BulkString = cache.get(bare_key(id)).await.expect("the value");
    let issue: Issue = serde_json::from_slice(bytes.as_bytes()).expect("an issue");
    issue.id
}

pub(crate) async fn redis(mut connection: MultiplexedConnection, id: u64) -> u64 {
    let bytes: redis::RedisResult<Vec<u8>> =
        redis::AsyncCommands::get(&mut connection, bare_key(id)).await;
    let issue: Issue = serde_json::from_slice(&bytes.expect("the value")).expect("an issue");
    issue.id
}

#[concurrent_cached(
    key = "String",
    convert = { format!("id={id}&path={path}") },
    map_error = |_| ApiError,
    ty = "AsyncRedisCache<String, Issue>",
    create = {
        AsyncRedisCache::builder("tiered_hit")
            .ttl(HOUR)
            .connection_string(URL.get().expect("a server"))
            .client_side_caching(true)
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

#[hitbox_fn::cached(prefix = "tiered_hit")]
async fn hitbox_issue(path: String, id: u64) -> Result<Answer<Issue>, ApiError> {
    let _ = path;
    Ok(Answer(Issue::sample(id)))
}

type Composed = CompositionBackend<MokaBackend<BincodeFormat>, RedisBackend, OffloadManager>;

pub(crate) async fn through_hitbox(id: u64) -> u64 {
    static CACHE: LazyLock<Cache<Composed>> = LazyLock::new(|| {
        let l1 = MokaBackend::builder()
            .max_entries(CAPACITY)
            .value_format(BincodeFormat)
            .build();
        let url = URL.get().expect("a server");
        let l2 = RedisBackend::builder()
            .connection(ConnectionMode::single(url.as_str()))
            .build()
            .expect("an address");
        Cache::builder()
            .backend(l1.compose(l2, OffloadManager::with_defaults()))
            .policy(PolicyConfig::builder().ttl(HOUR).build())
            .build()
    });
    let answer = hitbox_issue("/api/v1/issues".to_owned(), id)
        .cache(&*CACHE)
        .await;
    answer.expect("an issue").0.id
}

pub(crate) async fn through_amalgam(id: u64) -> u64 {
    let cache = AMALGAM.get().expect("a server");
    let key = format!("id={id}&path=/api/v1/issues");
    let load = move |_| async move { Ok::<_, ApiError>(Issue::sample(id)) };
    cache.get_or_set(&key, load).await.expect("an issue").id
}

pub(crate) async fn through_multi_tier(id: u64) -> u64 {
    let cache = MULTI_TIER.get().expect("a server");
    let key = format!("tiered:id={id}&path=/api/v1/issues");
    let load = move || async move { Ok(Issue::sample(id)) };
    let issue = cache.get_or_compute_typed(&key, CacheStrategy::LongTerm, load);
    issue.await.expect("an issue").id
}
