//! What the library does, in one run: `cargo run -p examples --example quickstart`.
//!
//! Needs nothing but this machine: the cache is in memory, and the backend that fails half-way is a few lines below.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use dexter_cache::backend::{
    CacheBackend, Capabilities, KeyFilter, MemoryBackend, Pong, SetOutcome, When,
};
use dexter_cache::{Cache, Error, ErrorKind, KeyPattern, bypass, cached, invalidates};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Issue {
    id: u64,
    title: String,
}

/// How often the origin was asked.
static LOADS: AtomicU32 = AtomicU32::new(0);

/// The origin: some slow API. One attribute gives it a cache; the key is `get_issue:id=7`.
#[cached(ttl = "1m", prefix = "get_issue")]
async fn get_issue(id: u64) -> Result<Arc<Issue>, String> {
    LOADS.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(40)).await;
    Ok(Arc::new(Issue {
        id,
        title: "login fails".into(),
    }))
}

/// The last issue that was closed at the origin.
static CLOSED: AtomicU64 = AtomicU64::new(0);

/// A write to it: afterwards nobody gets the issue as it was.
#[invalidates(get_issue(id))]
async fn close_issue(id: u64) -> Result<(), String> {
    CLOSED.store(id, Ordering::SeqCst);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::memory();
    cache.install()?;

    head("In memory");
    let show = Show(&cache);
    show.step("the first call", get_issue(7)).await;
    show.step("the same again", get_issue(7)).await;
    show.step("past the cache", bypass(get_issue(7))).await;
    show.step("a write: close the issue", close_issue(7)).await;
    show.step("read after the write", get_issue(7)).await;
    show.step("1000 callers of a new key at once", stampede(8))
        .await;
    show.step("the same 1000 again", stampede(8)).await;

    // A cache of its own for one future, as tests use it, on a backend that can be switched off.
    let backend = Switch::new();
    let cache = Cache::builder().backend(backend.clone()).build().await?;
    cache.scope(outage(&cache, &backend)).await?;
    cache.close().await;

    println!(
        "\nNext: examples/README.md, and a real service: cargo run -p examples --example issues_api"
    );
    Ok(())
}

async fn outage(cache: &Cache, backend: &Switch) -> Result<(), Error> {
    head("A backend, shared by processes");
    let show = Show(cache);
    show.step("issue 1: load and store", get_issue(1)).await;
    show.step("issue 2: load and store", get_issue(2)).await;
    show.step("issue 1: from the backend", get_issue(1)).await;

    head("The backend fails: no caller gets an error");
    // What was loaded is stored behind the answer; the switch waits for it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    backend.off.store(true, Ordering::SeqCst);
    show.step("issue 1: loaded, kept in memory", get_issue(1))
        .await;
    show.step("issue 1: from memory", get_issue(1)).await;
    let removed = get_issue::remove(1).await?;
    println!(
        "  {:38}{:?}: told to the backend when it is back",
        "issue 1: removed", removed.reach
    );

    head("The backend is back, with what it held before");
    backend.off.store(false, Ordering::SeqCst);
    let began = Instant::now();
    while !cache.health().is_whole() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "  {:38}{:>6} ms",
        "connected again by itself",
        began.elapsed().as_millis()
    );
    show.step("issue 1: the old value is gone", get_issue(1))
        .await;
    show.step("issue 2: still there", get_issue(2)).await;
    Ok(())
}

/// A thousand tasks ask for one issue at the same moment.
async fn stampede(id: u64) -> Result<(), String> {
    let scope = |_| tokio::spawn(get_issue(id));
    for caller in (0..1000).map(scope).collect::<Vec<_>>() {
        caller.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

fn head(title: &str) {
    println!("\n{title}");
    println!("  {:38}{:14}{:>6} {:>9}", "", "X-Cache", "loads", "time");
}

/// Prints one line a step, from the counters of a cache.
struct Show<'a>(&'a Cache);

impl Show<'_> {
    async fn step<T>(&self, what: &str, step: impl Future<Output = Result<T, String>>) {
        let (before, loads) = (self.0.stats().total, LOADS.load(Ordering::SeqCst));
        let began = Instant::now();
        let outcome = step.await;
        let took = began.elapsed();
        let after = self.0.stats().total;
        let loads = LOADS.load(Ordering::SeqCst) - loads;

        let verdict = match () {
            () if outcome.is_err() => "ERROR",
            () if after.misses > before.misses => "MISS",
            () if after.bypasses > before.bypasses => "BYPASS",
            () if after.hits > before.hits => "HIT",
            () => "-",
        };
        println!(
            "  {what:38}{verdict:14}{loads:>6} {:>6.1} ms",
            took.as_secs_f64() * 1000.0
        );
    }
}

/// A backend in memory that can be switched off; what it holds stays, as in a server that cannot be reached.
#[derive(Debug, Clone)]
struct Switch {
    inner: MemoryBackend,
    off: Arc<AtomicBool>,
}

impl Switch {
    fn new() -> Self {
        Self {
            inner: MemoryBackend::new(10_000),
            off: Arc::default(),
        }
    }

    fn reach(&self) -> Result<&MemoryBackend, Error> {
        if self.off.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "switched off"));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl CacheBackend for Switch {
    fn name(&self) -> &'static str {
        "switch"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.reach()?.get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        self.reach()?.get_many(keys).await
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        self.reach()?.set(key, value, ttl, when).await
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        self.reach()?.remove(keys).await
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        self.reach()?.remove_matching(pattern, filter).await
    }

    async fn ping(&self) -> Result<Pong, Error> {
        self.reach()?.ping().await
    }
}
