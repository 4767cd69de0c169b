//! What a write makes untrue is removed by the write: by key, by pattern, or by an attribute on the writer.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use dexter_cache::{Cache, KeyPattern, cached, invalidates};

/// The origin: titles by number.
static ISSUES: LazyLock<Mutex<BTreeMap<u64, String>>> = LazyLock::new(|| {
    Mutex::new(BTreeMap::from([
        (1, "login fails".to_owned()),
        (2, "slow search".to_owned()),
    ]))
});

#[cached(ttl = "1m", prefix = "get_issue")]
async fn get_issue(id: u64) -> Option<String> {
    ISSUES.lock().unwrap().get(&id).cloned()
}

#[cached(ttl = "5m", prefix = "list_issues")]
async fn list_issues(query: &str) -> Vec<String> {
    ISSUES
        .lock()
        .unwrap()
        .values()
        .filter(|title| title.contains(query))
        .cloned()
        .collect()
}

/// If this returns `Ok`, or is given up half-way, the issue and all lists are gone from the cache before the caller
/// goes on.
#[invalidates(get_issue(id), pattern = "list_issues:*")]
async fn rename(id: u64, title: &str) -> Result<(), String> {
    match ISSUES.lock().unwrap().get_mut(&id) {
        Some(old) => {
            title.clone_into(old);
            Ok(())
        }
        None => Err(format!("there is no issue {id}")),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::memory();
    cache.install()?;

    println!(
        "before:         {:?} {:?}",
        get_issue(1).await,
        list_issues("").await
    );
    rename(1, "login fails on Mondays").await?;
    println!(
        "after rename:   {:?} {:?}",
        get_issue(1).await,
        list_issues("").await
    );
    assert_eq!(
        get_issue(1).await.as_deref(),
        Some("login fails on Mondays")
    );

    // Somebody else writes to the database: say so by hand.
    get_issue(2).await;
    ISSUES
        .lock()
        .unwrap()
        .insert(2, "search is fast now".to_owned());
    println!("still cached:   {:?}", get_issue(2).await);
    let done = get_issue::remove(2).await?;
    println!(
        "removed by key: {} entry, now {:?}",
        done.removed,
        get_issue(2).await
    );

    // A pattern is a glob over keys. What came from outside is escaped, so that it matches only itself.
    for query in ["login", "search"] {
        list_issues(query).await;
    }
    let exact = KeyPattern::new(format!("list_issues:query={}", KeyPattern::escape("login")));
    println!(
        "removed by {exact}: {}",
        cache.invalidate(&exact).await?.removed
    );
    let all = KeyPattern::new("list_issues:*");
    println!(
        "removed by {all}: {}",
        cache.invalidate(&all).await?.removed
    );

    let done = cache.clear().await?;
    println!("removed the rest: {}", done.removed);
    Ok(())
}
