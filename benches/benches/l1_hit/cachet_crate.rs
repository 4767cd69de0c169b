//! `cachet` 0.16: `try_get_or_insert` without protection from stampedes, which is its default and its fastest.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use benches::{ApiError, Issue};
use cachet::{Cache, CacheEntry};
use tick::Clock;

type Of<K, V> = LazyLock<Cache<K, V>>;

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder::<K, V>(Clock::new_tokio())
        .memory_with(|memory| memory.max_capacity(100_000))
        .ttl(Duration::from_mins(5))
        .build()
}

macro_rules! functions {
    ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident) => {
        pub(crate) async fn $borrowed(path: &str, query: Option<&str>) -> Result<$value, ApiError> {
            static CACHE: Of<String, $value> = LazyLock::new(cache);
            let key = format!("{path}&{}", query.unwrap_or_default());
            let load = || async { Ok::<_, ApiError>($make(path.len() as u64)) };
            let entry = CACHE.try_get_or_insert(key.as_str(), load).await;
            entry.map(CacheEntry::into_value).map_err(|_| ApiError)
        }

        pub(crate) async fn $owned(
            path: String,
            query: Option<String>,
        ) -> Result<$value, ApiError> {
            static CACHE: Of<(String, Option<String>), $value> = LazyLock::new(cache);
            let key = (path, query);
            let load = || async { Ok::<_, ApiError>($make(key.0.len() as u64)) };
            let entry = CACHE.try_get_or_insert(&key, load).await;
            entry.map(CacheEntry::into_value).map_err(|_| ApiError)
        }

        pub(crate) async fn $copy(id: u64, page: u32) -> Result<$value, ApiError> {
            static CACHE: Of<(u64, u32), $value> = LazyLock::new(cache);
            let load = || async { Ok::<_, ApiError>($make(id)) };
            let entry = CACHE.try_get_or_insert(&(id, page), load).await;
            entry.map(CacheEntry::into_value).map_err(|_| ApiError)
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
