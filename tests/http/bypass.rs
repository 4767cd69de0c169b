//! `?no_cache=true`: who may, what it does, and what it leaves alone.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::Path;
use axum::http::Method;
use axum::routing::get;
use axum::{Json, Router};
use dexter_cache::cached;
use dexter_cache::http::{BypassPolicy, CacheContextLayer};

use crate::client::Client;

/// Counts its runs for all tests, so only differences mean something.
#[cached(ttl = 60, prefix = "b_counter")]
async fn counter(Path(name): Path<String>) -> Json<u32> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    drop(name);
    Json(RUNS.fetch_add(1, Ordering::SeqCst))
}

#[cached(ttl = 60, prefix = "b_part")]
async fn part(name: &str) -> u32 {
    counter(Path(name.to_owned())).await.0
}

fn client(layer: CacheContextLayer) -> Client {
    Client::new(
        Router::new()
            .route("/counter/{name}", get(counter).post(counter))
            .route(
                "/part/{name}",
                get(async |Path(name): Path<String>| part(&name).await.to_string()),
            )
            .route("/plain", get(async || "plain"))
            .layer(layer),
    )
}

#[tokio::test]
async fn a_bypass_neither_reads_nor_writes() {
    let client = client(CacheContextLayer::new());
    let stored = client.get("/counter/a").await;

    let answer = client.get("/counter/a?no_cache=true").await;
    assert_eq!(
        (answer.x_cache(), answer.cache_control()),
        (Some("BYPASS"), Some("no-store"))
    );
    assert_ne!(answer.body, stored.body, "it ran the handler");

    let after = client.get("/counter/a").await;
    assert_eq!(after.x_cache(), Some("HIT"));
    assert_eq!(after.body, stored.body, "it stored nothing");

    assert_eq!(
        client.get("/counter/b?no_cache=1").await.x_cache(),
        Some("BYPASS")
    );
    assert_eq!(
        client.get("/counter/b").await.x_cache(),
        Some("MISS"),
        "nor where nothing was"
    );
}

#[tokio::test]
async fn it_reaches_nested_calls() {
    let client = client(CacheContextLayer::new());
    let stored = client.get("/part/a").await;
    let answer = client.get("/part/a?x=y&no%5Fcache=true").await;
    assert_eq!(
        (answer.x_cache(), answer.cache_control()),
        (Some("BYPASS"), Some("no-store"))
    );
    assert_ne!(answer.body, stored.body);
    assert_eq!(client.get("/part/a").await.body, stored.body);
}

#[tokio::test]
async fn other_spellings_are_none() {
    let client = client(CacheContextLayer::new());
    client.get("/counter/a").await;
    for query in [
        "no_cache",
        "no_cache=",
        "no_cache=false",
        "no_cache=0",
        "q=no_cache%3Dtrue",
    ] {
        assert_eq!(
            client.get(&format!("/counter/a?{query}")).await.x_cache(),
            Some("HIT"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn never() {
    let client = client(CacheContextLayer::new().bypass(BypassPolicy::never()));
    assert_eq!(
        client.get("/counter/a?no_cache=true").await.x_cache(),
        Some("MISS")
    );
    assert_eq!(
        client.get("/counter/a?no_cache=true").await.x_cache(),
        Some("HIT")
    );
}

#[tokio::test]
async fn whom_the_predicate_lets_pass() {
    let known = BypassPolicy::when(|request| request.headers.contains_key("x-operator"));
    let client = client(CacheContextLayer::new().bypass(known));
    client.get("/counter/a").await;
    let uri = "/counter/a?no_cache=true";
    assert_eq!(client.get(uri).await.x_cache(), Some("HIT"));
    let operator = client.send(Method::GET, uri, &[("x-operator", "1")]).await;
    assert_eq!(operator.x_cache(), Some("BYPASS"));
    let plain = client
        .send(Method::GET, "/counter/a", &[("x-operator", "1")])
        .await;
    assert_eq!(plain.x_cache(), Some("HIT"), "who may has to ask as well");
}

#[tokio::test]
async fn nothing_annotated_nothing_said() {
    let client = client(CacheContextLayer::new());
    let answer = client.get("/plain?no_cache=true").await;
    assert_eq!((answer.x_cache(), answer.cache_control()), (None, None));
}

#[tokio::test]
async fn another_method_bypasses_without_a_cache_control() {
    let client = client(CacheContextLayer::new());
    let answer = client
        .send(Method::POST, "/counter/a?no_cache=true", &[])
        .await;
    assert_eq!(
        (answer.x_cache(), answer.cache_control()),
        (Some("BYPASS"), None)
    );
}

#[tokio::test]
async fn a_handler_may_bypass_by_itself() {
    let app = Router::new()
        .route(
            "/",
            get(async || {
                let stored = part("own").await;
                let fresh = dexter_cache::bypass(part("own")).await;
                format!("{}", fresh > stored)
            }),
        )
        .layer(CacheContextLayer::new().cache_control(true));
    let client = Client::new(app);
    let answer = client.get("/").await;
    assert_eq!(
        (answer.x_cache(), answer.body.as_str()),
        (Some("MISS"), "true")
    );
    let answer = client.get("/").await;
    assert_eq!(
        answer.x_cache(),
        Some("BYPASS"),
        "some of it was loaded on purpose"
    );
    assert_eq!(answer.cache_control(), Some("no-store"));
}
