//! When the origin fails: the last value answers for a while, and the origin is left alone between two attempts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dexter_cache::{Cache, cached};

static DOWN: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Fresh for a fifth of a second, and kept for an hour after it, to answer where this fails.
#[cached(ttl = "200ms", stale = "1h", throttle = "5m", prefix = "list_projects")]
async fn list_projects(organization: &str) -> Result<Vec<String>, String> {
    ASKED.fetch_add(1, Ordering::SeqCst);
    if DOWN.load(Ordering::SeqCst) {
        return Err("the upstream is down".to_owned());
    }
    Ok(vec![
        format!("{organization}/web"),
        format!("{organization}/api"),
    ])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::memory();
    cache.install()?;

    println!("the upstream answers: {:?}", list_projects("myorg").await?);

    DOWN.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..3 {
        println!("it is down:           {:?}", list_projects("myorg").await?);
    }
    println!("it was asked {} times", ASKED.load(Ordering::SeqCst));
    println!("answers past their time: {}", cache.stats().total.stale);

    // What was removed answers no more: there is nothing to fall back on.
    list_projects::remove("myorg").await?;
    println!("after a removal:      {:?}", list_projects("myorg").await);
    Ok(())
}
