//! An annotated axum handler, and the headers that its clients get.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, header};
use axum::routing::get;
use axum::{Json, Router};
use dexter_cache::http::{BypassPolicy, CacheContextLayer};
use dexter_cache::{Cache, cached};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Issue {
    id: u64,
    title: String,
}

/// The JSON is the cached value: `get_issue:id=7`.
#[cached(ttl = "1m", prefix = "get_issue")]
async fn get_issue(Path(id): Path<u64>) -> Json<Issue> {
    Json(Issue {
        id,
        title: "login fails".into(),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Cache::memory().install()?;

    // Whoever has signed in may look past the cache.
    let signed_in =
        BypassPolicy::when(|request| request.headers.contains_key(header::AUTHORIZATION));
    let app = Router::new()
        .route("/issues/{id}", get(get_issue))
        .layer(CacheContextLayer::new().bypass(signed_in));

    show(&app, "/issues/7", None).await?;
    show(&app, "/issues/7", None).await?;
    show(&app, "/issues/7", Some("Bearer ada")).await?;
    show(&app, "/issues/7?no_cache=true", None).await?;
    show(&app, "/issues/7?no_cache=true", Some("Bearer ada")).await?;
    Ok(())
}

async fn show(
    app: &Router,
    uri: &str,
    authorization: Option<&str>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut request = Request::builder().uri(uri);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let response = app.clone().oneshot(request.body(Body::empty())?).await?;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("-")
            .to_owned()
    };
    println!(
        "GET {uri:24} {:12} X-Cache: {:6}  Cache-Control: {}",
        if authorization.is_some() {
            "signed in"
        } else {
            "anonymous"
        },
        header("x-cache"),
        header("cache-control"),
    );
    Ok(())
}
