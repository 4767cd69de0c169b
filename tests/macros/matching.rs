//! `matching()`: the keys of which some parts are given.

use axum::extract::Path;
use dexter_cache::{Cache, CacheKey, KeyPattern, cached, invalidates};

#[derive(Debug, Clone, CacheKey)]
struct Filter {
    status: Option<String>,
    page: u32,
}

#[cached(ttl = 60, prefix = "match.list")]
async fn list(organization: &str, project: &str, status: Option<&str>) -> usize {
    organization.len() + project.len() + status.map_or(0, str::len)
}

#[cached(ttl = 60, prefix = "match.odd", key(T, N, sum = a + b, super = 1))]
async fn odd<'a, T, const N: usize>(
    a: u64,
    b: u64,
    r#type: &'a str,
    Path(id): Path<u64>,
    filter: &Filter,
    any: T,
) -> usize
where
    T: CacheKey + Clone + Send + Sync + 'static,
{
    let _ = (a, b, any, filter);
    r#type.len() + usize::try_from(id).unwrap() + N
}

/// Parts that are called like what a builder has of its own.
#[cached(ttl = 60, prefix = "match.clash")]
async fn clash(pattern: &str, remove: u64, clone: u8, into: &str, from: &str, drop: bool) -> usize {
    let _ = (remove, clone, from, drop);
    pattern.len() + into.len()
}

#[cached(ttl = 60, prefix = "match.none")]
async fn nothing() -> u8 {
    1
}

#[cached(ttl = 60, prefix = "match.cache", cache = cache, skip(cache))]
async fn with_cache(id: u64, cache: &Cache) -> u64 {
    id + cache.stats().entries
}

struct Store {
    organization: String,
}

impl Store {
    #[cached(ttl = 60, prefix = "match.method", key(organization = self.organization))]
    async fn range(&self, days: u64) -> u64 {
        days
    }

    #[cached(assoc, ttl = 60, prefix = "match.assoc")]
    async fn fixed(n: u64) -> u64 {
        n
    }

    #[invalidates(Self::range_matching().part("organization", &self.organization))]
    async fn write(&self) -> u64 {
        7
    }
}

#[invalidates(list::matching().project(&project).status(status), nothing())]
async fn write(project: String, status: Option<&'static str>) -> Result<String, String> {
    Ok(project)
}

#[invalidates(list::matching().organization(result))]
async fn write_by_result(organization: &str) -> Result<String, String> {
    Ok(organization.to_owned())
}

fn meets(pattern: impl Into<KeyPattern>, key: &dexter_cache::Key) -> bool {
    pattern.into().matches(key.as_str().as_bytes())
}

#[test]
fn a_part_is_compared_as_a_whole_and_by_its_own_name() {
    let web = || list::matching().project("web");
    assert!(meets(web(), &list::key("o", "web", None)));
    assert!(meets(web(), &list::key("o", "web", Some("open"))));
    assert!(!meets(web(), &list::key("o", "web2", None)));
    assert!(!meets(web(), &list::key("o", "2web", None)));
    assert!(!meets(
        web(),
        &list::key("project=web", "x", Some("project=web"))
    ));
    assert!(!meets(
        list::matching().status(None),
        &list::key("o", "web", Some("x"))
    ));
    assert!(meets(
        list::matching().status(None),
        &list::key("o", "web", None)
    ));
    let both = list::matching()
        .status(Some("x"))
        .project("web")
        .organization("o");
    assert!(meets(both, &list::key("o", "web", Some("x"))));
    assert!(meets(nothing::matching(), &nothing::key()));
    assert!(!meets(
        nothing::matching(),
        &dexter_cache::Key::raw("match.none2")
    ));
    assert!(!meets(nothing::matching(), &list::key("o", "web", None)));
}

#[test]
fn every_kind_of_part_has_a_method() {
    let filter = Filter {
        status: None,
        page: 2,
    };
    let open = Filter {
        status: Some("open".into()),
        page: 2,
    };
    let key = odd::key::<_, 3>(1, 2, "t", Path(7), &filter, "any");
    assert!(meets(
        odd::matching()
            .r#type("t")
            .id(7)
            .filter(&filter)
            .any("any")
            .sum(3),
        &key
    ));
    assert!(meets(odd::matching().T::<&str>().N(3).super_(1).a(1), &key));
    assert!(!meets(odd::matching().T::<u8>(), &key));
    assert!(!meets(odd::matching().N(4), &key));
    assert!(!meets(odd::matching().filter(&open), &key));
    let of_open = odd::key::<_, 3>(1, 2, "t", Path(7), &open, "any");
    assert!(
        !meets(odd::matching().filter(&filter), &of_open),
        "a field more"
    );
}

#[test]
fn a_part_may_be_called_as_it_likes() {
    let key = clash::key("p", 1, 2, "i", "f", true);
    let keys = clash::matching()
        .pattern("p")
        .remove(1)
        .clone(2)
        .into("i")
        .from("f")
        .drop(true);
    assert!(meets(KeyPattern::from(keys), &key));
    assert!(!meets(KeyPattern::from(clash::matching().clone(3)), &key));
}

#[tokio::test]
async fn what_matches_is_removed() {
    let cache = Cache::memory();
    cache
        .scope(async {
            for project in ["web", "web2"] {
                list("o", project, None).await;
                list("o", project, Some("open")).await;
            }
            let removed = list::matching().project("web").remove().await.unwrap();
            assert_eq!(removed.removed, 2);
            let pattern = list::matching()
                .project("web2")
                .status(Some("open"))
                .pattern();
            let cache = Cache::current().unwrap();
            assert_eq!(cache.invalidate(&pattern).await.unwrap().removed, 1);
            assert_eq!(list::peek("o", "web2", None).await.unwrap(), Some(5));
            with_cache(1, &cache).await;
            let pattern = with_cache::matching().id(1).pattern();
            assert_eq!(cache.invalidate(&pattern).await.unwrap().removed, 1);
        })
        .await;
}

#[tokio::test]
async fn writers_name_what_matches() {
    let cache = Cache::memory();
    cache
        .scope(async {
            let store = Store {
                organization: "o".into(),
            };
            store.range(1).await;
            list("o", "web", Some("open")).await;
            list("o", "web", None).await;
            list("o", "web2", None).await;
            write("web".into(), None).await.unwrap();
            assert!(list::peek("o", "web", None).await.unwrap().is_none());
            assert!(
                list::peek("o", "web", Some("open"))
                    .await
                    .unwrap()
                    .is_some()
            );
            assert!(list::peek("o", "web2", None).await.unwrap().is_some());
            write_by_result("o").await.unwrap();
            assert!(list::peek("o", "web2", None).await.unwrap().is_none());
            store.write().await;
            assert!(store.range_peek(1).await.unwrap().is_none());
            assert!(meets(
                Store::fixed_matching().part("n", &7),
                &Store::fixed_key(7)
            ));
        })
        .await;
}

#[test]
#[should_panic(expected = "the keys `match.method` have no part `dayz`")]
fn a_part_of_a_method_that_does_not_exist_is_a_mistake() {
    let _ = Store::range_matching().part("dayz", &7);
}
