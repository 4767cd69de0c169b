//! `cached` 4.1: both of its macros, bounded and with a TTL.

macro_rules! functions {
    ($macro:ident) => {
        use std::sync::Arc;

        use benches::{ApiError, Issue};
        use cached::macros::$macro;

        #[$macro(max_size = 100_000, ttl_secs = 300, key = "String", convert = { format!("{path}&{}", query.unwrap_or_default()) })]
        pub(crate) async fn borrowed_arc(path: &str, query: Option<&str>) -> Result<Arc<Issue>, ApiError> {
            Ok(Arc::new(Issue::sample((path.len() + query.map_or(0, str::len)) as u64)))
        }

        #[$macro(max_size = 100_000, ttl_secs = 300, key = "String", convert = { format!("{path}&{}", query.unwrap_or_default()) })]
        pub(crate) async fn borrowed_value(path: &str, query: Option<&str>) -> Result<Issue, ApiError> {
            Ok(Issue::sample((path.len() + query.map_or(0, str::len)) as u64))
        }

        #[$macro(max_size = 100_000, ttl_secs = 300)]
        pub(crate) async fn owned_arc(path: String, query: Option<String>) -> Result<Arc<Issue>, ApiError> {
            Ok(Arc::new(Issue::sample((path.len() + query.map_or(0, |query| query.len())) as u64)))
        }

        #[$macro(max_size = 100_000, ttl_secs = 300)]
        pub(crate) async fn owned_value(path: String, query: Option<String>) -> Result<Issue, ApiError> {
            Ok(Issue::sample((path.len() + query.map_or(0, |query| query.len())) as u64))
        }

        #[$macro(max_size = 100_000, ttl_secs = 300)]
        pub(crate) async fn copy_arc(id: u64, page: u32) -> Result<Arc<Issue>, ApiError> {
            Ok(Arc::new(Issue::sample(id + u64::from(page))))
        }

        #[$macro(max_size = 100_000, ttl_secs = 300)]
        pub(crate) async fn copy_value(id: u64, page: u32) -> Result<Issue, ApiError> {
            Ok(Issue::sample(id + u64::from(page)))
        }
    };
}

/// One lock around the whole cache.
pub(crate) mod one_lock {
    functions!(cached);
}

/// Shards.
pub(crate) mod sharded {
    functions!(concurrent_cached);
}
