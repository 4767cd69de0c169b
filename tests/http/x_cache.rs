//! `X-Cache`: one word for everything that a request caused.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use dexter_cache::cached;
use dexter_cache::http::CacheContextLayer;

use crate::client::Client;

#[cached(ttl = 60, prefix = "x_handler")]
async fn handler(Path(id): Path<u64>) -> Json<u64> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    RUNS.fetch_add(1, Ordering::SeqCst);
    Json(id * 10)
}

#[cached(ttl = 60, prefix = "x_inner")]
async fn inner(id: u64) -> u64 {
    id
}

#[cached(ttl = 60, prefix = "x_outer")]
async fn outer(id: u64) -> u64 {
    inner(id).await + inner(id + 1).await
}

#[cached(ttl = 60, prefix = "x_failing")]
async fn failing(Path(id): Path<u64>) -> Result<Json<u64>, StatusCode> {
    if id == 0 {
        Err(StatusCode::IM_A_TEAPOT)
    } else {
        Ok(Json(id))
    }
}

fn client() -> Client {
    Client::new(
        Router::new()
            .route("/handler/{id}", get(handler).post(handler))
            .route(
                "/nested/{id}",
                get(async |Path(id): Path<u64>| outer(id).await.to_string()),
            )
            .route(
                "/inner/{id}",
                get(async |Path(id): Path<u64>| inner(id).await.to_string()),
            )
            .route("/failing/{id}", get(failing))
            .route("/plain", get(async || "plain"))
            .route(
                "/warms/{id}",
                get(async |Path(id): Path<u64>| {
                    inner::warm(id + 1).await;
                    inner(id).await.to_string()
                }),
            )
            .route("/write", post(async || inner(1).await.to_string()))
            .layer(CacheContextLayer::new()),
    )
}

#[tokio::test]
async fn what_is_warmed_for_later_is_no_part_of_the_answer() {
    let client = client();
    assert_eq!(client.get("/inner/1").await.x_cache(), Some("MISS"));
    assert_eq!(client.get("/warms/1").await.x_cache(), Some("HIT"));
    assert_eq!(client.get("/inner/2").await.x_cache(), Some("HIT"));
}

#[tokio::test]
async fn a_miss_then_hits() {
    let client = client();
    let first = client.get("/handler/4").await;
    assert_eq!((first.x_cache(), first.body.as_str()), (Some("MISS"), "40"));
    for _ in 0..3 {
        let again = client.get("/handler/4").await;
        assert_eq!((again.x_cache(), again.body.as_str()), (Some("HIT"), "40"));
        assert_eq!(again.headers["content-type"], "application/json");
    }
    assert_eq!(
        client.get("/handler/5").await.x_cache(),
        Some("MISS"),
        "another key"
    );
}

#[tokio::test]
async fn one_miss_among_several_calls_is_a_miss() {
    let client = client();
    assert_eq!(client.get("/inner/1").await.x_cache(), Some("MISS"));
    assert_eq!(
        client.get("/nested/1").await.x_cache(),
        Some("MISS"),
        "inner(2) and outer(1)"
    );
    let hit = client.get("/nested/1").await;
    assert_eq!((hit.x_cache(), hit.body.as_str()), (Some("HIT"), "3"));
    assert_eq!(client.get("/inner/2").await.x_cache(), Some("HIT"));
}

#[tokio::test]
async fn requests_without_annotated_calls_are_left_alone() {
    let answer = client().get("/plain").await;
    assert_eq!((answer.x_cache(), answer.cache_control()), (None, None));
    let answer = client().get("/nowhere").await;
    assert_eq!(
        (answer.status, answer.x_cache()),
        (StatusCode::NOT_FOUND, None)
    );
}

#[tokio::test]
async fn an_error_is_a_miss_each_time() {
    let client = client();
    for _ in 0..2 {
        let answer = client.get("/failing/0").await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(
            (answer.x_cache(), answer.cache_control()),
            (Some("MISS"), None)
        );
    }
    assert_eq!(client.get("/failing/1").await.x_cache(), Some("MISS"));
    assert_eq!(client.get("/failing/1").await.x_cache(), Some("HIT"));
}

#[tokio::test]
async fn head_is_answered_as_get_and_without_a_body() {
    let client = client();
    let head = client.send(Method::HEAD, "/handler/4", &[]).await;
    assert_eq!((head.x_cache(), head.body.as_str()), (Some("MISS"), ""));
    let get = client.get("/handler/4").await;
    assert_eq!((get.x_cache(), get.body.as_str()), (Some("HIT"), "40"));
    let head = client.send(Method::HEAD, "/handler/4", &[]).await;
    assert_eq!((head.x_cache(), head.body.as_str()), (Some("HIT"), ""));
    assert!(head.max_age() <= get.max_age());
}

#[tokio::test]
async fn other_methods_tell_of_their_calls_and_give_no_age() {
    let client = client();
    for x_cache in ["MISS", "HIT"] {
        let answer = client.send(Method::POST, "/write", &[]).await;
        assert_eq!(
            (answer.x_cache(), answer.cache_control()),
            (Some(x_cache), None)
        );
    }
    for x_cache in ["MISS", "HIT"] {
        let answer = client.send(Method::POST, "/handler/4", &[]).await;
        assert_eq!(
            (answer.x_cache(), answer.cache_control()),
            (Some(x_cache), None)
        );
    }
}

#[tokio::test]
async fn requests_at_the_same_time_do_not_mix() {
    let client = client();
    client.get("/handler/1").await;
    let (hit, miss, plain) = tokio::join!(
        client.get("/handler/1"),
        client.get("/handler/2"),
        client.get("/plain")
    );
    assert_eq!(hit.x_cache(), Some("HIT"));
    assert_eq!(miss.x_cache(), Some("MISS"));
    assert_eq!(plain.x_cache(), None);
}
