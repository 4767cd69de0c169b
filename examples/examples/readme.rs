//! The example that the README opens with, and around it what it takes to run.

use std::error::Error;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, http::StatusCode};
use serde::{Deserialize, Serialize};

// [README]
use dexter_cache::{Cache, bypass, cached, http::CacheContextLayer, invalidates};

#[cached(ttl = "5m", prefix = "list_issues")] // key: list_issues:organization=myorg&status=unresolved
async fn list_issues(organization: &str, status: Option<&str>) -> Result<Vec<Issue>, ApiError> {
    db::issues(organization, status).await
}

#[cached(ttl = "1m", prefix = "get_issue")] // a handler: X-Cache, Cache-Control: max-age=…
async fn get_issue(Path(id): Path<u64>) -> Result<Json<Issue>, ApiError> {
    db::issue(id).await.map(Json)
}

#[invalidates(get_issue(Path(id)), pattern = "list_issues:*")] // on Ok, and when cut off half-way
async fn close_issue(Path(id): Path<u64>) -> Result<(), ApiError> {
    db::close(id).await
}

async fn start() -> Result<Router, Box<dyn Error>> {
    let cache = Cache::from_env().await?; // REDIS_URL; while Redis is away, this process's memory
    cache.install()?;
    bypass(list_issues("myorg", None)).await?; // goes round the cache, as ?no_cache=true does
    println!("{:?}", cache.stats().prefix("list_issues").hit_rate());
    let app = Router::new().route("/issues/{id}", get(get_issue).patch(close_issue));
    Ok(app.layer(CacheContextLayer::new()))
}
// [/README]

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Issue {
    id: u64,
    status: String,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("the database failed")]
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
        println!("  db: issues of {organization}");
        Ok(vec![Issue {
            id: 7,
            status: status.unwrap_or("unresolved").to_owned(),
        }])
    }

    pub(crate) async fn issue(id: u64) -> Result<Issue, ApiError> {
        println!("  db: issue {id}");
        Ok(Issue {
            id,
            status: "unresolved".to_owned(),
        })
    }

    pub(crate) async fn close(id: u64) -> Result<(), ApiError> {
        println!("  db: close {id}");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    use axum::body::Body;
    use axum::http::{Method, Request};
    use tower::ServiceExt;

    let app = start().await?;
    for (method, uri) in [
        (Method::GET, "/issues/7"),
        (Method::GET, "/issues/7"),
        (Method::GET, "/issues/7?no_cache=true"),
        (Method::PATCH, "/issues/7"),
        (Method::GET, "/issues/7"),
    ] {
        println!("{method} {uri}");
        let request = Request::builder().method(method).uri(uri);
        let response = app.clone().oneshot(request.body(Body::empty())?).await?;
        for name in ["x-cache", "cache-control"] {
            if let Some(value) = response.headers().get(name) {
                println!("  {name}: {}", value.to_str()?);
            }
        }
    }
    for _ in 0..2 {
        println!("list_issues: {:?}", list_issues("myorg", None).await?);
    }
    if let Some(cache) = Cache::current() {
        println!("{:?}", cache.stats().prefix("list_issues").hit_rate());
        cache.close().await;
    }
    Ok(())
}
