//! Many keys with one query, and a cache that is warm before the first request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, InCacheScope, Key, Ttl, cached};
use tokio::task::JoinSet;

static QUERIES: AtomicU32 = AtomicU32::new(0);

/// `select id, title from issues where id in (…)`.
async fn select(ids: &[u64]) -> HashMap<u64, String> {
    QUERIES.fetch_add(1, Ordering::Relaxed);
    println!("  one query for {ids:?}");
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    let there = ids.iter().filter(|id| **id < 100);
    there.map(|id| (*id, format!("issue {id}"))).collect()
}

async fn titles(cache: &Cache, ids: &[u64]) -> Vec<Option<String>> {
    let key = |id: &u64| Key::new("title").part("id", id);
    let load = async |missing: Vec<u64>| select(&missing).await;
    cache.get_or_load_many(ids, key, Ttl::secs(60), load).await
}

#[cached(ttl = "5m", prefix = "report")]
async fn report(project: u64) -> u64 {
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    project * 42
}

/// Eight at a time, so that the database does not feel it.
async fn warm_up(projects: impl IntoIterator<Item = u64>) {
    let mut warming = JoinSet::new();
    for project in projects {
        if warming.len() == 8 {
            warming.join_next().await;
        }
        warming.spawn(async move { report::warm(project).await }.in_cache_scope());
    }
    while warming.join_next().await.is_some() {}
}

#[tokio::main]
async fn main() -> Result<(), dexter_cache::Error> {
    let cache = Cache::memory();
    cache.install()?;

    println!("a page of issues:");
    let page = titles(&cache, &[1, 2, 3]).await;
    assert_eq!(page[2].as_deref(), Some("issue 3"));
    println!("the next one, which overlaps, and an issue that is not there:");
    let page = titles(&cache, &[2, 3, 4, 999]).await;
    assert_eq!(page.iter().flatten().count(), 3);
    assert_eq!(QUERIES.load(Ordering::Relaxed), 2);
    // Each is an entry of its own.
    cache.remove(&Key::new("title").part("id", &2)).await?;
    println!("after one of them was removed:");
    titles(&cache, &[1, 2, 3]).await;

    warm_up(0..40).await;
    warm_up(0..50).await;
    let counts = cache.stats().prefix("report");
    println!(
        "warmed: {} loads, {} look-ups",
        counts.loads,
        counts.hits + counts.misses
    );
    assert_eq!((counts.loads, counts.hits + counts.misses), (50, 0));
    assert_eq!(report(7).await, 294);
    assert_eq!(cache.stats().prefix("report").hits, 1);
    Ok(())
}
