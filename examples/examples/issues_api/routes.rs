//! The HTTP surface.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use dexter_cache::http::CacheContextLayer;
use dexter_cache::{Cache, Serving};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::db::Db;
use crate::error::ApiError;
use crate::model::{Issue, IssuePatch, Status};
use crate::{analytics, issues};

pub fn router(db: Db, cache: Cache) -> Router {
    // These answers are cached values and nothing else, so their routes may tell the client how long they last. The
    // analytics handlers are annotated themselves and need not ask.
    let asking = CacheContextLayer::new().cache_control(true);
    Router::new()
        .route("/api/v1/issues", get(list_issues).layer(asking.clone()))
        .route(
            "/api/v1/issues/{id}",
            get(get_issue).patch(patch_issue).layer(asking),
        )
        .route("/api/v1/analytics/errors", get(analytics::errors))
        .route("/api/v1/analytics/projects", get(analytics::projects))
        .route("/api/v1/analytics/days", get(analytics::days))
        // Routes above this line get X-Cache and ?no_cache=true.
        .layer(CacheContextLayer::new())
        .with_state(db)
        .merge(operations(cache))
}

/// What the people who run the service ask for.
fn operations(cache: Cache) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/cache/stats", get(stats))
        .with_state(cache)
}

#[derive(Deserialize)]
struct Filter {
    organization: String,
    project: String,
    status: Option<Status>,
    query: Option<String>,
}

async fn list_issues(
    State(db): State<Db>,
    Query(filter): Query<Filter>,
) -> Result<Json<Arc<Vec<Issue>>>, ApiError> {
    // `?query=` is no search: one key for both spellings.
    let query = filter.query.as_deref().filter(|query| !query.is_empty());
    let found = issues::list_issues(
        &db,
        &filter.organization,
        &filter.project,
        filter.status,
        query,
    );
    Ok(Json(found.await?))
}

async fn get_issue(
    State(db): State<Db>,
    Path(id): Path<u64>,
) -> Result<Json<Arc<Issue>>, ApiError> {
    Ok(Json(issues::get_issue(&db, id).await?))
}

async fn patch_issue(
    State(db): State<Db>,
    Path(id): Path<u64>,
    Json(patch): Json<IssuePatch>,
) -> Result<Json<Issue>, ApiError> {
    Ok(Json(issues::set_status(&db, id, patch.status).await?))
}

/// Healthy without Redis too: the service answers, only slower.
async fn healthz(State(cache): State<Cache>) -> Json<Value> {
    let health = cache.health();
    Json(json!({
        "status": "ok",
        "backend": health.backend,
        "backend_in_use": health.serving == Serving::Backend,
        "removals_waiting": health.journaled,
    }))
}

async fn stats(State(cache): State<Cache>) -> Json<Value> {
    let stats = cache.stats();
    let prefixes: Vec<Value> = stats
        .prefixes
        .iter()
        .map(|(prefix, counts)| {
            json!({
                "prefix": prefix,
                "hits": counts.hits,
                "misses": counts.misses,
                "bypasses": counts.bypasses,
                "loads": counts.loads,
                "coalesced": counts.coalesced,
                "hit_rate": counts.hit_rate(),
            })
        })
        .collect();
    Json(json!({ "entries_in_memory": stats.entries, "prefixes": prefixes }))
}
