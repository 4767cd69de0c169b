//! A hit in memory of an annotated function, under the HTTP layer.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{Request, Response};
use dexter_cache::http::CacheContextLayer;
use dexter_cache::{Cache, cached};
use tower::{Layer, ServiceExt, service_fn};

use crate::so_far;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Issue {
    title: String,
}

#[derive(Debug, Clone)]
struct ApiError;

#[cached(ttl = 300, prefix = "alloc_get_issue")]
async fn get_issue(
    path: &str,
    query: Option<&str>,
    tags: &[u32],
    id: u64,
) -> Result<Arc<Issue>, ApiError> {
    Ok(Arc::new(Issue {
        title: format!("{path}{query:?}{tags:?}{id}"),
    }))
}

struct Sentry {
    organization: String,
}

impl Sentry {
    #[cached(ttl = 300, prefix = "alloc_method", key(organization = self.organization), tags = ["org:{self.organization}", "issue:{id}"])]
    async fn issue(&self, id: u64) -> Result<Arc<Issue>, ApiError> {
        Ok(Arc::new(Issue {
            title: format!("{}{id}", self.organization),
        }))
    }
}

async fn twice(_: Request<()>) -> Result<Response<usize>, Infallible> {
    let sentry = Sentry {
        organization: "myorg".to_owned(),
    };
    let call = || get_issue("/api/v1/issues/123", Some("is:open"), &[1, 2], 7);
    let first = call().await.unwrap();
    sentry.issue(1).await.unwrap();
    let before = so_far();
    let second = call().await.unwrap();
    sentry.issue(1).await.unwrap();
    let count = so_far() - before;
    assert!(Arc::ptr_eq(&first, &second), "a hit is a copy of a pointer");
    Ok(Response::new(count))
}

#[tokio::test]
async fn a_hit_of_an_arc_allocates_nothing() {
    let cache = Cache::memory();
    let service = CacheContextLayer::new().layer(service_fn(twice));
    let response = cache
        .scope(service.oneshot(Request::new(())))
        .await
        .unwrap();
    assert_eq!(
        response.headers()["x-cache"],
        "MISS",
        "the first calls missed"
    );
    assert_eq!(*response.body(), 0);
    assert_eq!(cache.stats().total.hits, 2);
}

/// Redis and what listens to it run on other threads, whose allocations are not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hit_in_front_of_redis_allocates_nothing_either() {
    let server = support::RedisServer::start();
    let cache = Cache::builder().redis(server.url()).namespace("hits");
    let cache = cache.tiered().build().await.unwrap();
    let reading = cache.scope(async {
        loop {
            let first = get_issue("/api", None, &[], 7).await.unwrap();
            let held = cache.stats().entries;
            let before = so_far();
            let second = get_issue("/api", None, &[], 7).await.unwrap();
            let count = so_far() - before;
            // What is read from Redis is decoded anew; only what memory holds is the same, or a load that is just being
            // stored, after which memory is empty.
            if Arc::ptr_eq(&first, &second) && held == 1 {
                return count;
            }
        }
    });
    let count = tokio::time::timeout(support::PATIENCE, reading).await;
    assert_eq!(count.expect("memory answers at last"), 0);
}
