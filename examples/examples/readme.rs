//! The example that the README opens with, and around it what it takes to run.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, http::StatusCode};
use dexter_cache::http::CacheContextLayer;
use serde::{Deserialize, Serialize};

// [README]
use dexter_cache::{Cache, bypass, cached, invalidates};

#[cached(ttl = "5m", prefix = "list_issues")]
async fn list_issues(organization: &str, status: Option<&str>) -> Result<Vec<Issue>, ApiError> {
    db::issues(organization, status).await
}

#[cached(ttl = "1m", prefix = "get_issue")] // a handler: X-Cache, Cache-Control: max-age=…
async fn get_issue(Path(id): Path<u64>) -> Result<Json<Issue>, ApiError> {
    Ok(Json(db::issue(id).await?))
}

#[invalidates(get_issue(Path(id)), pattern = "list_issues:*")] // on Ok, and when cut off half-way
async fn close_issue(id: u64) -> Result<(), ApiError> {
    db::close(id).await
}

async fn start() -> Result<Router, dexter_cache::Error> {
    let cache = Cache::from_env().await?; // REDIS_URL, by default redis://localhost:6379/0
    cache.install()?;
    Ok(Router::new()
        .route("/issues/{id}", get(get_issue))
        .layer(CacheContextLayer::new()))
}
// [/README]

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Issue {
    id: u64,
    status: String,
}

#[derive(Debug, Clone)]
struct ApiError;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

#[expect(clippy::unused_async, reason = "a stand-in for a database")]
mod db {
    use super::{ApiError, Issue};

    pub(crate) async fn issues(
        organization: &str,
        status: Option<&str>,
    ) -> Result<Vec<Issue>, ApiError> {
        println!("db: issues of {organization}");
        Ok(vec![Issue {
            id: 7,
            status: status.unwrap_or("unresolved").to_owned(),
        }])
    }

    pub(crate) async fn issue(id: u64) -> Result<Issue, ApiError> {
        println!("db: issue {id}");
        Ok(Issue {
            id,
            status: "unresolved".to_owned(),
        })
    }

    pub(crate) async fn close(id: u64) -> Result<(), ApiError> {
        println!("db: close {id}");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _router = start().await?;
    for _ in 0..2 {
        let issues = list_issues("myorg", Some("unresolved")).await;
        println!("{issues:?}");
    }
    close_issue(7).await.map_err(|_| "not closed")?;
    let issues = bypass(list_issues("myorg", None)).await;
    println!("{issues:?}");
    if let Some(cache) = Cache::current() {
        println!("{:?}", cache.stats().prefix("list_issues").hit_rate());
        cache.close().await;
    }
    Ok(())
}
