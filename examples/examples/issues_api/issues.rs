//! Reading and writing issues. The annotated functions know nothing of HTTP: handlers, jobs and tests call them alike.

use std::sync::Arc;

use dexter_cache::{cached, invalidates};
use rusqlite::{OptionalExtension, Row, named_params};

use crate::db::Db;
use crate::error::ApiError;
use crate::model::{Issue, Status};

const SELECT: &str =
    "SELECT issue.*, count(event.issue) AS events, count(DISTINCT event.user) AS users,
         max(event.day) AS last_seen
     FROM issue LEFT JOIN event ON event.issue = issue.id";

/// The issues of a project, for five minutes. `db` says where they are read, not which, so it is no part of the key:
/// `list_issues:organization=myorg&project=myproject&status=unresolved`.
#[cached(ttl = "5m", prefix = "list_issues", skip(db))]
pub async fn list_issues(
    db: &Db,
    organization: &str,
    project: &str,
    status: Option<Status>,
    query: Option<&str>,
) -> Result<Arc<Vec<Issue>>, ApiError> {
    let organization = organization.to_owned();
    let project = project.to_owned();
    let query = query.map(|query| format!("%{}%", escape_like(query)));
    let issues = db
        .run(move |connection| {
            let sql = format!(
                "{SELECT}
                 WHERE organization = :organization AND project = :project
                     AND (:status IS NULL OR status = :status)
                     AND (:query IS NULL OR title LIKE :query ESCAPE '\\' OR message LIKE :query ESCAPE '\\')
                 GROUP BY issue.id ORDER BY events DESC, issue.id LIMIT 100"
            );
            connection
                .prepare_cached(&sql)?
                .query_map(
                    named_params! {
                        ":organization": organization,
                        ":project": project,
                        ":status": status.map(Status::as_str),
                        ":query": query,
                    },
                    issue,
                )?
                .collect()
        })
        .await?;
    Ok(Arc::new(issues))
}

/// One issue, for a minute. An `Arc`, so that a hit in memory copies a pointer.
#[cached(ttl = "1m", prefix = "get_issue", skip(db))]
pub async fn get_issue(db: &Db, id: u64) -> Result<Arc<Issue>, ApiError> {
    read_issue(db, id).await.map(Arc::new)
}

/// Changes the status of an issue. When it returns, no caller in this process gets the issue as it was, nor a list or
/// a report made from it; with Redis at hand, no caller in any other process does.
#[invalidates(get_issue(id), pattern = "list_issues:*", pattern = "analytics_*")]
pub async fn set_status(db: &Db, id: u64, status: Status) -> Result<Issue, ApiError> {
    let changed = db
        .run(move |connection| {
            connection.execute(
                "UPDATE issue SET status = :status WHERE id = :id",
                named_params! { ":status": status.as_str(), ":id": id },
            )
        })
        .await?;
    if changed == 0 {
        return Err(ApiError::NoSuchIssue(id));
    }
    read_issue(db, id).await
}

async fn read_issue(db: &Db, id: u64) -> Result<Issue, ApiError> {
    let found = db
        .run(move |connection| {
            connection
                .prepare_cached(&format!("{SELECT} WHERE issue.id = ? GROUP BY issue.id"))?
                .query_row([id], issue)
                .optional()
        })
        .await?;
    found.ok_or(ApiError::NoSuchIssue(id))
}

fn issue(row: &Row<'_>) -> rusqlite::Result<Issue> {
    Ok(Issue {
        id: row.get("id")?,
        organization: row.get("organization")?,
        project: row.get("project")?,
        title: row.get("title")?,
        culprit: row.get("culprit")?,
        level: row.get("level")?,
        status: row.get("status")?,
        events: row.get("events")?,
        users: row.get("users")?,
        last_seen: row.get("last_seen")?,
    })
}

/// `text` as `LIKE` finds it literally.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}
