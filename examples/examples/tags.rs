//! Tags: labels by which a group of entries is invalidated in one step, however many there are.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use dexter_cache::{Cache, Key, Policy, Ttl, cached, invalidates};

/// The origin: project and title by number.
static ISSUES: LazyLock<Mutex<BTreeMap<u64, (&str, String)>>> = LazyLock::new(|| {
    Mutex::new(BTreeMap::from([
        (1, ("web", "login fails".to_owned())),
        (2, ("web", "slow search".to_owned())),
        (3, ("api", "timeout".to_owned())),
    ]))
});

#[cached(ttl = "1m", prefix = "get_issue", tags = ["issue:{id}"])]
async fn get_issue(id: u64) -> Option<String> {
    ISSUES
        .lock()
        .unwrap()
        .get(&id)
        .map(|(_, title)| title.clone())
}

/// One entry for each page and query: nobody could name them all.
#[cached(ttl = "5m", prefix = "list_issues", tags = ["project:{project}"])]
async fn list_issues(project: &str, query: &str, page: usize) -> Vec<String> {
    let issues = ISSUES.lock().unwrap();
    let titles = issues
        .values()
        .filter(|(of, title)| *of == project && title.contains(query))
        .map(|(_, title)| title.clone());
    titles.skip(page * 10).take(10).collect()
}

#[invalidates(tag = "issue:{id}", tag = "project:{project}")]
async fn rename(project: &str, id: u64, title: &str) {
    if let Some((_, old)) = ISSUES.lock().unwrap().get_mut(&id) {
        title.clone_into(old);
    }
}

#[tokio::main]
async fn main() -> Result<(), dexter_cache::Error> {
    let cache = Cache::memory();
    cache.install()?;

    for query in ["", "login", "slow"] {
        list_issues("web", query, 0).await;
    }
    list_issues("api", "", 0).await;
    println!("before: {:?}", list_issues("web", "", 0).await);

    // All lists of one project, and the issue: one command in Redis. The other project's lists stay.
    rename("web", 1, "login fails on Mondays").await;
    println!("after:  {:?}", list_issues("web", "", 0).await);
    assert_eq!(
        list_issues("web", "login", 0).await,
        ["login fails on Mondays"]
    );
    assert_eq!(
        get_issue(1).await.as_deref(),
        Some("login fails on Mondays")
    );
    let stats = cache.stats().prefix("list_issues");
    list_issues("api", "", 0).await;
    assert_eq!(cache.stats().prefix("list_issues").loads, stats.loads);

    // By hand: a tag is any text.
    let report = Key::new("report").part("project", "web");
    let policy = Policy::new(Ttl::secs(3600))
        .tag("project:web")
        .tag("reports");
    let lines = || async { ISSUES.lock().unwrap().len() };
    println!(
        "report: {} issues",
        cache.get_or_load(&report, policy, lines).await
    );
    cache.invalidate_tags(["reports", "issue:2"]).await?;
    assert_eq!(cache.get::<usize>(&report).await?, None);
    Ok(())
}
