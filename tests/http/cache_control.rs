//! `Cache-Control`: when, how long, and when better not.

use std::time::{Duration, Instant};

use axum::extract::Path;
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use dexter_cache::cached;
use dexter_cache::http::CacheContextLayer;

use crate::client::Client;

#[cached(ttl = "1h", prefix = "c_handler")]
async fn handler(Path(id): Path<u64>) -> Result<Json<u64>, StatusCode> {
    Ok(Json(id))
}

#[cached(ttl = "4h", prefix = "c_long")]
async fn long(id: u64) -> u64 {
    id
}

#[cached(ttl = "1h", prefix = "c_short")]
async fn short(id: u64) -> u64 {
    id
}

/// Made of shorter-lived parts, but stored for longer: its own entry counts.
#[cached(ttl = "4h", prefix = "c_composed")]
async fn composed(Path(id): Path<u64>) -> Json<u64> {
    Json(short(id).await + long(id).await)
}

/// Not annotated, but made of one that is.
async fn page(Path(id): Path<u64>) -> Result<Html<String>, StatusCode> {
    let Json(value) = handler(Path(id)).await?;
    Ok(Html(format!("<p>{value}, as you, Ada, have asked for")))
}

async fn mixed(Path(id): Path<u64>) -> Result<Json<u64>, StatusCode> {
    let Json(value) = handler(Path(id)).await?;
    Ok(Json(value + short(id).await))
}

async fn both(Path(id): Path<u64>) -> String {
    (long(id).await + short(id).await).to_string()
}

fn client() -> Client {
    let asking = CacheContextLayer::new().cache_control(true);
    Client::new(
        Router::new()
            .route("/handler/{id}", get(handler))
            .route("/composed/{id}", get(composed))
            .route("/page/{id}", get(page))
            .route("/mixed/{id}", get(mixed))
            .route("/silent/{id}", get(both))
            .route("/asking/{id}", get(both).layer(asking.clone()))
            .route(
                "/cookie",
                get(async || ([(header::SET_COOKIE, "a=b")], both(Path(1)).await))
                    .layer(asking.clone()),
            )
            .route(
                "/own",
                get(async || {
                    (
                        [(header::CACHE_CONTROL, "public, max-age=1")],
                        both(Path(1)).await,
                    )
                })
                .layer(asking.clone()),
            )
            .route(
                "/created",
                get(async || (StatusCode::CREATED, both(Path(1)).await).into_response())
                    .layer(asking),
            )
            .layer(CacheContextLayer::new()),
    )
}

#[tokio::test]
async fn the_age_of_a_hit_is_not_larger_than_that_of_the_miss() {
    let client = client();
    let miss = client.get("/handler/1").await;
    assert_eq!(miss.x_cache(), Some("MISS"));
    assert!(
        (3_000..=3_600).contains(&miss.max_age()),
        "an hour less a jitter of a tenth: {miss:?}"
    );
    assert!(
        miss.cache_control().unwrap().starts_with("max-age="),
        "not private: {miss:?}"
    );
    let hit = client.get("/handler/1").await;
    assert_eq!(hit.x_cache(), Some("HIT"));
    assert!(hit.max_age() <= miss.max_age(), "{hit:?} after {miss:?}");
}

#[tokio::test]
async fn the_age_counts_down_and_is_never_more_than_what_is_left() {
    let client = client();
    let first = client.get("/handler/1").await.max_age();
    let filled = Instant::now();
    loop {
        let passed = filled.elapsed().as_secs();
        let hit = client.get("/handler/1").await;
        assert_eq!(hit.x_cache(), Some("HIT"));
        assert!(
            hit.max_age() + passed <= first + 1,
            "{hit:?} after {passed} s"
        );
        if hit.max_age() < first {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn only_an_annotated_handler_or_a_route_that_asks_gets_one() {
    let client = client();
    for _ in 0..2 {
        assert_eq!(client.get("/silent/1").await.cache_control(), None);
    }
    let asking = client.get("/asking/1").await;
    assert_eq!(asking.x_cache(), Some("HIT"), "filled by the other route");
    assert!(
        (3_000..=3_600).contains(&asking.max_age()),
        "the shorter of the two: {asking:?}"
    );
}

#[tokio::test]
async fn the_entry_of_the_handler_decides() {
    let client = client();
    let miss = client.get("/composed/1").await;
    assert!(miss.max_age() > 3_600, "{miss:?}");
    let hit = client.get("/composed/1").await;
    assert!(hit.max_age() <= miss.max_age(), "{hit:?} after {miss:?}");
}

#[tokio::test]
async fn what_is_made_of_an_annotated_handler_is_not_its_answer() {
    let client = client();
    for uri in ["/page/1", "/mixed/1"] {
        for _ in 0..2 {
            let answer = client.get(uri).await;
            assert!(answer.x_cache().is_some(), "{uri}: {answer:?}");
            assert_eq!(answer.cache_control(), None, "{uri}: {answer:?}");
        }
    }
    assert!(client.get("/handler/1").await.max_age() > 0);
}

#[tokio::test]
async fn a_request_that_names_its_sender_makes_it_private() {
    let client = client();
    for name in ["authorization", "cookie"] {
        let answer = client
            .send(Method::GET, "/handler/1", &[(name, "a=b")])
            .await;
        let value = answer.cache_control().unwrap();
        assert!(value.starts_with("private, max-age="), "{name}: {value}");
    }
}

#[tokio::test]
async fn never_beside_a_cookie_over_the_handlers_own_or_on_another_status() {
    let client = client();
    let cookie = client.get("/cookie").await;
    assert_eq!(
        (cookie.x_cache(), cookie.cache_control()),
        (Some("MISS"), None)
    );
    assert_eq!(cookie.headers["set-cookie"], "a=b");

    let own = client.get("/own").await;
    assert_eq!(
        (own.x_cache(), own.cache_control()),
        (Some("HIT"), Some("public, max-age=1"))
    );
    let own = client.get("/own?no_cache=true").await;
    assert_eq!(
        (own.x_cache(), own.cache_control()),
        (Some("BYPASS"), Some("public, max-age=1"))
    );

    let created = client.get("/created").await;
    assert_eq!(
        (created.x_cache(), created.cache_control()),
        (Some("HIT"), None)
    );
}
