//! The cache over real Redis servers, whole and broken: the outage contract, leases between processes, strange values.

mod acknowledged;
mod batch;
mod budget;
mod commands;
mod deferred;
mod drills;
mod foreign;
mod forgetful;
mod leases;
mod lives;
mod reentrant;
mod scars;
mod stampede;
mod strange_values;
mod tags;
mod tiered;
mod two_processes;
mod writers;

use std::time::Duration;

use dexter_cache::backend::{RedisBackend, RedisConfig};
use dexter_cache::{Cache, CacheBuilder, Health, Key, Serving, Ttl};
use support::{PATIENCE as BOUND, Proxy, RedisServer};

const MINUTE: Ttl = Ttl::secs(60);
/// How long a lease lives, and how long callers wait for one, where nobody should have to: far more than `BOUND`, so
/// that a call which waits for it counts as one that hangs, and a call which is slow does not.
const LEASE: Duration = Duration::from_secs(1_000);

/// A cache whose deadlines no busy machine exceeds, for tests that are about something else. It notices an outage by a
/// connection that breaks, and by nothing else.
async fn patient(server: &RedisServer) -> Cache {
    ready(patient_builder(&server.url())).await
}

fn patient_builder(url: &str) -> CacheBuilder {
    Cache::builder()
        .backend(patient_backend(url))
        .budget(BOUND)
        .lease_ttl(LEASE)
        .follow_timeout(LEASE)
}

fn patient_backend(url: &str) -> RedisBackend {
    let config = RedisConfig::parse(url).expect("a good address");
    RedisBackend::new(config.connect_timeout(BOUND).sweep_timeout(BOUND))
}

/// Builds a cache and waits until its backend is in use.
async fn ready(builder: CacheBuilder) -> Cache {
    let cache = build(builder).await;
    until_back(&cache).await;
    cache
}

/// Breaks all connections and takes no others: an outage that is noticed without a deadline.
fn break_off(proxy: &Proxy) {
    proxy.refuse();
    proxy.cut();
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
