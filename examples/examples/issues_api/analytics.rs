//! Reports, for ten minutes. Here the **handlers** are annotated: their JSON is the cached value, and the client is told
//! by `Cache-Control: max-age=…` for how long it will stay the same. What an extractor takes out of the request is an
//! argument like any other, so it is in the key: `analytics_errors:organization=myorg`.

use axum::Json;
use axum::extract::{Query, State};
use dexter_cache::cached;
use serde::Deserialize;

use crate::db::Db;
use crate::error::ApiError;
use crate::model::{Day, ProjectLevel, TopError};

/// What a report is about: one organization, or all of them.
#[derive(Debug, Deserialize)]
pub struct Scope {
    organization: Option<String>,
}

/// The unresolved issues with the most events: `analytics_errors:organization=myorg`.
#[cached(ttl = "10m", prefix = "analytics_errors", skip(db))]
pub async fn errors(
    State(db): State<Db>,
    Query(Scope { organization }): Query<Scope>,
) -> Result<Json<Vec<TopError>>, ApiError> {
    let rows = db
        .run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, project, title, count(*), count(DISTINCT user)
                     FROM issue JOIN event ON event.issue = issue.id
                     WHERE (?1 IS NULL OR organization = ?1) AND status = 'unresolved'
                     GROUP BY id ORDER BY count(*) DESC, id LIMIT 20",
                )?
                .query_map([organization], |row| {
                    Ok(TopError {
                        id: row.get(0)?,
                        project: row.get(1)?,
                        title: row.get(2)?,
                        events: row.get(3)?,
                        users: row.get(4)?,
                    })
                })?
                .collect()
        })
        .await?;
    Ok(Json(rows))
}

/// Each project's issues and events by level: `analytics_projects:organization=myorg`.
#[cached(ttl = "10m", prefix = "analytics_projects", skip(db))]
pub async fn projects(
    State(db): State<Db>,
    Query(Scope { organization }): Query<Scope>,
) -> Result<Json<Vec<ProjectLevel>>, ApiError> {
    let rows = db
        .run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT project, level, count(DISTINCT id),
                         count(DISTINCT CASE WHEN status = 'unresolved' THEN id END), count(event.issue)
                     FROM issue LEFT JOIN event ON event.issue = issue.id
                     WHERE (?1 IS NULL OR organization = ?1) GROUP BY project, level ORDER BY project, level",
                )?
                .query_map([organization], |row| {
                    Ok(ProjectLevel {
                        project: row.get(0)?,
                        level: row.get(1)?,
                        issues: row.get(2)?,
                        unresolved: row.get(3)?,
                        events: row.get(4)?,
                    })
                })?
                .collect()
        })
        .await?;
    Ok(Json(rows))
}

/// Events and users a day: `analytics_days:organization=myorg`.
#[cached(ttl = "10m", prefix = "analytics_days", skip(db))]
pub async fn days(
    State(db): State<Db>,
    Query(Scope { organization }): Query<Scope>,
) -> Result<Json<Vec<Day>>, ApiError> {
    let rows = db
        .run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT day, count(*), count(DISTINCT user)
                     FROM issue JOIN event ON event.issue = issue.id
                     WHERE (?1 IS NULL OR organization = ?1) GROUP BY day ORDER BY day",
                )?
                .query_map([organization], |row| {
                    Ok(Day {
                        date: row.get(0)?,
                        events: row.get(1)?,
                        users: row.get(2)?,
                    })
                })?
                .collect()
        })
        .await?;
    Ok(Json(rows))
}
