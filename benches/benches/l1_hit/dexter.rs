//! `dexter-cache`, as anybody would write it.

use std::sync::Arc;

use benches::{ApiError, Issue};
use dexter_cache::cached;

#[cached(ttl = "5m", prefix = "borrowed_arc")]
pub(crate) async fn borrowed_arc(path: &str, query: Option<&str>) -> Result<Arc<Issue>, ApiError> {
    Ok(Arc::new(Issue::sample(
        (path.len() + query.map_or(0, str::len)) as u64,
    )))
}

#[cached(ttl = "5m", prefix = "borrowed_value")]
pub(crate) async fn borrowed_value(path: &str, query: Option<&str>) -> Result<Issue, ApiError> {
    Ok(Issue::sample(
        (path.len() + query.map_or(0, str::len)) as u64,
    ))
}

#[cached(ttl = "5m", prefix = "owned_arc")]
pub(crate) async fn owned_arc(path: String, query: Option<String>) -> Result<Arc<Issue>, ApiError> {
    Ok(Arc::new(Issue::sample(
        (path.len() + query.map_or(0, |query| query.len())) as u64,
    )))
}

#[cached(ttl = "5m", prefix = "owned_value")]
pub(crate) async fn owned_value(path: String, query: Option<String>) -> Result<Issue, ApiError> {
    Ok(Issue::sample(
        (path.len() + query.map_or(0, |query| query.len())) as u64,
    ))
}

#[cached(ttl = "5m", prefix = "copy_arc")]
pub(crate) async fn copy_arc(id: u64, page: u32) -> Result<Arc<Issue>, ApiError> {
    Ok(Arc::new(Issue::sample(id + u64::from(page))))
}

#[cached(ttl = "5m", prefix = "copy_value")]
pub(crate) async fn copy_value(id: u64, page: u32) -> Result<Issue, ApiError> {
    Ok(Issue::sample(id + u64::from(page)))
}
