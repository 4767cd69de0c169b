//! What the API speaks of.

use dexter_cache::{CacheKey, KeyWriter};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use serde::{Deserialize, Serialize};

/// An issue: errors of one kind, with their number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issue {
    pub id: u64,
    pub organization: String,
    pub project: String,
    pub title: String,
    pub culprit: String,
    pub level: String,
    pub status: Status,
    pub events: u64,
    pub users: u64,
    pub last_seen: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Unresolved,
    Resolved,
    Ignored,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Unresolved, Self::Resolved, Self::Ignored];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }
}

/// As a part of a key a status reads as it does in the URL. `#[derive(CacheKey)]` would do as well, with the names of
/// the variants.
impl CacheKey for Status {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.text(self.as_str());
    }
}

impl FromSql for Status {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| FromSqlError::Other(format!("no such status: {text}").into()))
    }
}

/// The body of `PATCH /api/v1/issues/{id}`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct IssuePatch {
    pub status: Status,
}

/// One of the issues that hurt most.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopError {
    pub id: u64,
    pub project: String,
    pub title: String,
    pub events: u64,
    pub users: u64,
}

/// How many events of each level a project had.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProjectLevel {
    pub project: String,
    pub level: String,
    pub issues: u64,
    pub unresolved: u64,
    pub events: u64,
}

/// The events of one day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Day {
    pub date: String,
    pub events: u64,
    pub users: u64,
}
