//! The cache over real Redis servers, whole and broken: the outage contract, leases between processes, strange values.

mod budget;
mod commands;
mod drills;
mod foreign;
mod forgetful;
mod leases;
mod lives;
mod stampede;
mod strange_values;
mod two_processes;
mod writers;

use std::time::Duration;

use dexter_cache::{Cache, CacheBuilder, Health, Key, Serving, Ttl};
use support::RedisServer;

const MINUTE: Ttl = Ttl::secs(60);
/// What is bounded in the library must be over long before this, on the busiest machine.
const BOUND: Duration = Duration::from_secs(30);

/// A cache as a service would have it.
async fn cache(url: &str) -> Cache {
    build(Cache::builder().redis(url)).await
}

/// A cache whose deadlines no busy machine exceeds, for tests that are about something else.
async fn patient(server: &RedisServer) -> Cache {
    let cache = build(patient_builder(server)).await;
    assert_eq!(cache.health().serving, Serving::Backend);
    cache
}

fn patient_builder(server: &RedisServer) -> CacheBuilder {
    Cache::builder().redis(server.url()).budget(BOUND)
}

async fn build(builder: CacheBuilder) -> Cache {
    builder.build().await.expect("the options are good")
}

fn key(name: &str, id: u32) -> Key {
    Key::new(name).part("id", &id)
}

/// Asks `condition` every few milliseconds until it holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(BOUND, waiting).await.is_ok(),
        "waited {BOUND:?} in vain: {what}"
    );
}

async fn until_health(cache: &Cache, what: &str, mut good: impl FnMut(&Health) -> bool) {
    until(what, || good(&cache.health())).await;
}

async fn until_lost(cache: &Cache) {
    until_health(cache, "the outage is noticed", |health| {
        health.serving == Serving::Memory
    })
    .await;
}

async fn until_back(cache: &Cache) {
    until_health(cache, "the backend is in use again", |health| {
        health.serving == Serving::Backend
    })
    .await;
}

/// Runs `future`, which must not hang.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(BOUND, future).await;
    ended.unwrap_or_else(|_| panic!("hangs: {what}"))
}
