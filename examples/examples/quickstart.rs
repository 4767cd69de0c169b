//! What the library does, in one run: `cargo run -p examples --example quickstart`.
//!
//! Needs nothing but this machine: the cache is in memory, and the shared backend that hangs half-way is the one that
//! the feature `test-util` has for tests.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dexter_cache::test_util::{Fault, FaultyBackend};
use dexter_cache::{Cache, Error, bypass, cached, invalidates};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Issue {
    id: u64,
    title: String,
}

/// How often the function below has run.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// One attribute gives it a cache; the key is `get_issue:id=7`. The origin is some slow API.
#[cached(ttl = "1m", prefix = "get_issue")]
async fn get_issue(id: u64) -> Result<Arc<Issue>, String> {
    RUNS.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let title = "login fails".into();
    Ok(Arc::new(Issue { id, title }))
}

/// A write: afterwards nobody gets the issue as it was.
#[invalidates(get_issue(id))]
async fn close_issue(id: u64) -> Result<(), String> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    println!("  (issue {id} is closed at the origin)");
    Ok(())
}

const INTRO: &str = r#"
    #[cached(ttl = "1m", prefix = "get_issue")]
    async fn get_issue(id: u64) -> Result<Arc<Issue>, String> { /* 40 ms */ }

    #[invalidates(get_issue(id))]
    async fn close_issue(id: u64) -> Result<(), String> { /* … */ }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{INTRO}");
    println!(
        "  {:34}{:8}{:>4} {:>9}   because",
        "call", "X-Cache", "runs", "took"
    );

    let cache = Cache::memory();
    cache.install()?;
    in_memory(&Show(&cache)).await;

    // A cache of its own for one future, as tests use it, over a backend that several processes could share.
    let backend = FaultyBackend::new();
    let cache = Cache::builder().backend(backend.clone()).build().await?;
    cache.scope(outage(&Show(&cache), &backend)).await?;
    cache.close().await;

    println!(
        "\nNext: examples/README.md, one file a concept. A whole service, on axum and SQLite:"
    );
    println!("    cargo run -p examples --example issues_api");
    Ok(())
}

async fn in_memory(show: &Show<'_>) {
    head("In this process's memory");
    show.step("get_issue(7)", get_issue(7), "nothing is cached yet")
        .await;
    show.step("get_issue(7)", get_issue(7), "a look-up in memory")
        .await;
    let past = bypass(get_issue(7));
    show.step("bypass(get_issue(7))", past, "over HTTP: ?no_cache=true")
        .await;
    show.step(
        "close_issue(7)",
        close_issue(7),
        "removes what it makes untrue",
    )
    .await;
    show.step(
        "get_issue(7)",
        get_issue(7),
        "so this one sees the issue closed",
    )
    .await;
    let crowd = crowd(8);
    show.step(
        "1000 x get_issue(8) at once",
        crowd,
        "one runs it, 999 wait for that one",
    )
    .await;
}

async fn outage(show: &Show<'_>, backend: &FaultyBackend) -> Result<(), Error> {
    head("In a backend that processes share, such as Redis");
    show.step("get_issue(1)", get_issue(1), "loaded, and stored there")
        .await;
    show.step("get_issue(2)", get_issue(2), "this one, too")
        .await;
    // What is loaded is stored behind the answer.
    while get_issue::peek(1).await?.is_none() || get_issue::peek(2).await?.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    show.step("get_issue(1)", get_issue(1), "read from there")
        .await;

    head("It hangs: no caller gets an error");
    backend.inject(Fault::Hang);
    show.step(
        "get_issue(1)",
        get_issue(1),
        "waits 250 ms for it, then runs",
    )
    .await;
    show.step("get_issue(1)", get_issue(1), "memory has taken over")
        .await;
    show.step("get_issue(3)", get_issue(3), "the backend is asked no more")
        .await;
    let began = Instant::now();
    let removed = get_issue::remove(1).await?;
    row(
        "get_issue::remove(1)",
        "",
        0,
        began.elapsed(),
        &format!("{:?}: acts here, and there later", removed.reach),
    );

    head("It is back, with all that it held before");
    let began = Instant::now();
    backend.heal();
    while !show.0.health().is_whole() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    row(
        "(nobody calls)",
        "",
        0,
        began.elapsed(),
        "found by a ping; removals are replayed",
    );
    show.step(
        "get_issue(1)",
        get_issue(1),
        "removed: the old value stays away",
    )
    .await;
    show.step("get_issue(2)", get_issue(2), "not removed: still there")
        .await;
    Ok(())
}

/// A thousand tasks ask for one issue at the same moment.
async fn crowd(id: u64) -> Result<(), String> {
    let call = |_| tokio::spawn(get_issue(id));
    for caller in (0..1000).map(call).collect::<Vec<_>>() {
        caller.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Tells what the cache did for each step.
struct Show<'a>(&'a Cache);

impl Show<'_> {
    async fn step<T, E>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, E>>,
        because: &str,
    ) {
        let before = self.0.stats().total;
        let runs = RUNS.load(Ordering::SeqCst);
        let began = Instant::now();
        let outcome = call.await;
        let took = began.elapsed();
        let runs = RUNS.load(Ordering::SeqCst) - runs;
        let after = self.0.stats().total;
        let verdict = match () {
            () if outcome.is_err() => "ERROR",
            () if after.misses > before.misses => "MISS",
            () if after.bypasses > before.bypasses => "BYPASS",
            () if after.hits > before.hits => "HIT",
            () => "",
        };
        row(what, verdict, runs, took, because);
    }
}

fn head(title: &str) {
    println!("\n{title}");
}

fn row(what: &str, verdict: &str, runs: u32, took: Duration, because: &str) {
    let took = match took.as_micros() {
        micros @ 0..1000 => format!("{micros} µs"),
        micros => format!("{} ms", micros / 1000),
    };
    println!("  {what:34}{verdict:8}{runs:>4} {took:>9}   {because}");
}
