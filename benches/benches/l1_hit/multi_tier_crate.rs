//! `multi-tier-cache` 0.6: `get_or_compute_typed` over moka alone, with bincode, which is faster than its default, JSON. It
//! holds bytes and decodes them on every hit, so that `Arc<T>` costs a decoding, too.

use std::sync::{Arc, LazyLock};

use benches::{ApiError, Issue};
use multi_tier_cache::cache_manager::CacheTier;
use multi_tier_cache::serialization::BincodeSerializer;
use multi_tier_cache::{CacheManager, CacheSerializer, CacheStrategy, MokaCache, MokaCacheConfig};

static CACHE: LazyLock<CacheManager> = LazyLock::new(|| {
    let config = MokaCacheConfig {
        max_capacity: 100_000,
        ..MokaCacheConfig::default()
    };
    let memory = Arc::new(MokaCache::new(config).expect("a cache in memory"));
    let tiers = vec![CacheTier::new(memory, 1, false, 1, 1.0)];
    let mut cache = CacheManager::new_with_tiers(tiers, None).expect("one tier");
    cache.set_serializer(CacheSerializer::Bincode(BincodeSerializer));
    cache
});

macro_rules! functions {
    ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident) => {
        pub(crate) async fn $borrowed(path: &str, query: Option<&str>) -> Result<$value, ApiError> {
            let key = format!(
                concat!(stringify!($borrowed), ":{}&{}"),
                path,
                query.unwrap_or_default()
            );
            let load = || async { Ok($make(path.len() as u64)) };
            let answer = CACHE.get_or_compute_typed(&key, CacheStrategy::ShortTerm, load);
            answer.await.map_err(|_| ApiError)
        }

        pub(crate) async fn $owned(
            path: String,
            query: Option<String>,
        ) -> Result<$value, ApiError> {
            let key = format!(
                concat!(stringify!($owned), ":{}&{}"),
                path,
                query.as_deref().unwrap_or_default()
            );
            let load = || async { Ok($make(path.len() as u64)) };
            let answer = CACHE.get_or_compute_typed(&key, CacheStrategy::ShortTerm, load);
            answer.await.map_err(|_| ApiError)
        }

        pub(crate) async fn $copy(id: u64, page: u32) -> Result<$value, ApiError> {
            let key = format!(concat!(stringify!($copy), ":{}&{}"), id, page);
            let load = || async { Ok($make(id)) };
            let answer = CACHE.get_or_compute_typed(&key, CacheStrategy::ShortTerm, load);
            answer.await.map_err(|_| ApiError)
        }
    };
}

functions!(
    Arc<Issue>,
    |id| Arc::new(Issue::sample(id)),
    borrowed_arc,
    owned_arc,
    copy_arc
);
functions!(
    Issue,
    Issue::sample,
    borrowed_value,
    owned_value,
    copy_value
);
