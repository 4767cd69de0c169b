//! `amalgam-cache` 0.4: `get_or_set`, which takes text as key and protects from stampedes; bounded, as all here.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use amalgam::{Cache, EntryOptions};
use benches::{ApiError, Issue};

fn cache<V: Clone + Send + Sync + 'static>() -> Cache<V> {
    Cache::builder()
        .max_capacity(100_000)
        .default_options(EntryOptions::default().with_duration(Duration::from_mins(5)))
        .try_build()
        .expect("a cache in memory")
}

macro_rules! functions {
    ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident) => {
        pub(crate) async fn $borrowed(path: &str, query: Option<&str>) -> Result<$value, ApiError> {
            static CACHE: LazyLock<Cache<$value>> = LazyLock::new(cache);
            let key = format!("{path}&{}", query.unwrap_or_default());
            let id = path.len() as u64;
            let load = move |_| async move { Ok::<_, ApiError>($make(id)) };
            CACHE.get_or_set(&key, load).await.map_err(|_| ApiError)
        }

        pub(crate) async fn $owned(
            path: String,
            query: Option<String>,
        ) -> Result<$value, ApiError> {
            static CACHE: LazyLock<Cache<$value>> = LazyLock::new(cache);
            let key = format!("{path}&{}", query.as_deref().unwrap_or_default());
            let id = path.len() as u64;
            let load = move |_| async move { Ok::<_, ApiError>($make(id)) };
            CACHE.get_or_set(&key, load).await.map_err(|_| ApiError)
        }

        pub(crate) async fn $copy(id: u64, page: u32) -> Result<$value, ApiError> {
            static CACHE: LazyLock<Cache<$value>> = LazyLock::new(cache);
            let key = format!("{id}&{page}");
            let load = move |_| async move { Ok::<_, ApiError>($make(id)) };
            CACHE.get_or_set(&key, load).await.map_err(|_| ApiError)
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
