//! `moka`'s future cache: one look-up that also keeps stampedes away.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use benches::{ApiError, Issue};
use foldhash::fast::RandomState;
use moka::future::Cache;

type Of<K, V> = LazyLock<Cache<K, V, RandomState>>;

fn cache<K, V>() -> Cache<K, V, RandomState>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(100_000)
        .time_to_live(Duration::from_mins(5))
        .build_with_hasher(RandomState::default())
}

macro_rules! functions {
    ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident) => {
        pub(crate) async fn $borrowed(path: &str, query: Option<&str>) -> Result<$value, ApiError> {
            static CACHE: Of<String, $value> = LazyLock::new(cache);
            let key = format!("{path}&{}", query.unwrap_or_default());
            let load = async { Ok::<_, ApiError>($make(path.len() as u64)) };
            CACHE
                .try_get_with_by_ref(key.as_str(), load)
                .await
                .map_err(|_| ApiError)
        }

        pub(crate) async fn $owned(
            path: String,
            query: Option<String>,
        ) -> Result<$value, ApiError> {
            static CACHE: Of<(String, Option<String>), $value> = LazyLock::new(cache);
            let key = (path, query);
            let load = async { Ok::<_, ApiError>($make(key.0.len() as u64)) };
            CACHE
                .try_get_with_by_ref(&key, load)
                .await
                .map_err(|_| ApiError)
        }

        pub(crate) async fn $copy(id: u64, page: u32) -> Result<$value, ApiError> {
            static CACHE: Of<(u64, u32), $value> = LazyLock::new(cache);
            let load = async { Ok::<_, ApiError>($make(id)) };
            CACHE
                .try_get_with((id, page), load)
                .await
                .map_err(|_| ApiError)
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
