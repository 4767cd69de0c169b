//! Caching without an attribute: a key, a TTL and a closure.
//!
//! The path is the same as that of `#[cached]`: one load a key, fences, bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, Key, Ttl};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Report {
    project: String,
    errors: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("the warehouse is closed")]
struct Closed;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::memory();
    let runs = AtomicU32::new(0);

    // A key is a prefix and named parts; their order does not matter.
    let key = Key::new("report").part("project", "web").part("days", &7);
    println!("key: {key}");

    for _ in 0..3 {
        let report: Arc<Report> = cache
            .get_or_load(&key, Ttl::secs(300), || async {
                runs.fetch_add(1, Ordering::Relaxed);
                Arc::new(Report {
                    project: "web".into(),
                    errors: 42,
                })
            })
            .await;
        println!(
            "{}: {} errors, runs so far: {}",
            report.project,
            report.errors,
            runs.load(Ordering::Relaxed)
        );
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);

    // An error is handed out and not stored: the next call tries again.
    let other = Key::new("report").part("project", "api");
    let failed = cache
        .try_get_or_load(&other, Ttl::secs(300), || async {
            Err::<Arc<Report>, _>(Closed)
        })
        .await;
    println!("first try: {}", failed.unwrap_err());
    let report = cache
        .try_get_or_load(&other, Ttl::secs(300), || async {
            Ok::<_, Closed>(Arc::new(Report {
                project: "api".into(),
                errors: 7,
            }))
        })
        .await?;
    println!("second try: {} errors", report.errors);

    // By hand, for values that come by themselves.
    cache
        .set(&Key::new("motd"), &"hello".to_owned(), Ttl::secs(60))
        .await?;
    println!(
        "set by hand: {:?}",
        cache.get::<String>(&Key::new("motd")).await?
    );
    let removed = cache.remove(&Key::new("motd")).await?;
    println!("removed: {}", removed.removed);
    println!(
        "and now: {:?}",
        cache.get::<String>(&Key::new("motd")).await?
    );
    Ok(())
}
