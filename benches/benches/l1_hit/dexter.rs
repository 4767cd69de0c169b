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

/// Everything on that a hit can notice: two tags made of arguments, a fallback, refreshing ahead; owned arguments, with
/// characters that are escaped.
#[cached(
    ttl = "5m",
    prefix = "slowest_arc",
    tags = ["path:{path}", "issues"],
    stale = "1h",
    refresh_ahead = 0.8,
    none_ttl = "1m"
)]
pub(crate) async fn slowest_arc(
    path: String,
    query: Option<String>,
) -> Result<Option<Arc<Issue>>, ApiError> {
    Ok(Some(Arc::new(Issue::sample(
        (path.len() + query.map_or(0, |query| query.len())) as u64,
    ))))
}

/// The same with a value that is cloned.
#[cached(
    ttl = "5m",
    prefix = "slowest_value",
    tags = ["path:{path}", "issues"],
    stale = "1h",
    refresh_ahead = 0.8,
    none_ttl = "1m"
)]
pub(crate) async fn slowest_value(
    path: String,
    query: Option<String>,
) -> Result<Option<Issue>, ApiError> {
    Ok(Some(Issue::sample(
        (path.len() + query.map_or(0, |query| query.len())) as u64,
    )))
}
