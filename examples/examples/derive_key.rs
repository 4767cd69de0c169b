//! Types of one's own as parts of a key.

use dexter_cache::{Cache, CacheKey, cached};

#[derive(Debug, Clone, CacheKey)]
struct Filter {
    organization: String,
    status: Option<Status>,
    tags: Vec<String>,
}

#[derive(Debug, Clone, CacheKey)]
enum Status {
    Unresolved,
    #[expect(
        dead_code,
        reason = "shows that a type may have more than the example needs"
    )]
    Resolved,
}

#[cached(ttl = "5m", prefix = "search")]
async fn search(filter: &Filter, page: u32) -> String {
    format!("page {page} of {filter:?}")
}

#[tokio::main]
async fn main() -> Result<(), dexter_cache::Error> {
    Cache::memory().install()?;

    let all = Filter {
        organization: "myorg".into(),
        status: None,
        tags: vec![],
    };
    let some = Filter {
        status: Some(Status::Unresolved),
        tags: vec!["browser:firefox".into(), "a,b".into(), "50% off*".into()],
        ..all.clone()
    };
    // None is left out, sequences are joined by commas, and a value can neither forge another key nor act as a pattern.
    for filter in [&all, &some] {
        println!("{}", search::key(filter, 1));
        assert_eq!(search(filter, 1).await, search(filter, 1).await);
    }
    Ok(())
}
