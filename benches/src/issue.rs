//! The value that is cached: an issue of about 1 KB, nine allocations and 940 bytes of JSON.

use serde::{Deserialize, Serialize};

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
