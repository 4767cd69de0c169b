//! The value that is cached: an issue of about 1 KB, nine allocations and 940 bytes of JSON.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

static LOADS: AtomicU64 = AtomicU64::new(0);

/// How many issues this process has made. A benchmark of hits asserts that it makes none.
pub fn loads() -> u64 {
    LOADS.load(Ordering::Relaxed)
}

/// An issue as an API returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as any API names them")]
pub struct Issue {
    pub id: u64,
    pub organization: String,
    pub project: String,
    pub title: String,
    pub body: String,
    pub status: String,
    pub assignee: Option<String>,
    pub labels: Vec<String>,
    pub seen: u64,
    pub users: u64,
}

impl Issue {
    /// The issue number `id`.
    pub fn sample(id: u64) -> Self {
        LOADS.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            organization: "myorg".to_owned(),
            project: "backend-services".to_owned(),
            title: format!("Connection reset while reading the body of request {id}"),
            body: "The worker lost its connection to the upstream service while it was reading. "
                .repeat(8),
            status: "unresolved".to_owned(),
            assignee: Some("somebody@example.org".to_owned()),
            labels: vec!["network".to_owned(), "regression".to_owned()],
            seen: id.wrapping_mul(7919) % 100_000,
            users: id % 1_000,
        }
    }
}

/// What the annotated functions may fail with.
#[derive(Debug, Clone)]
pub struct ApiError;

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the API has failed")
    }
}

impl std::error::Error for ApiError {}
