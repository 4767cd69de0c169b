//! Tags: groups of entries, invalidated in one step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dexter_cache::{
    Cache, CacheContext, CacheKey, Clear, Key, KeyPattern, Policy, Reach, Ttl, cached, invalidates,
};
use proptest::prelude::*;
use tokio::sync::oneshot;

use crate::Counter;

const MINUTE: Ttl = Ttl::secs(60);

fn key(id: u32) -> Key {
    Key::new("tagged").part("id", &id)
}

fn tagged(tags: &[&str]) -> Policy {
    Policy::new(MINUTE).tags(tags)
}

/// A load that ends when it is told to, of the value that it is given then.
struct Slow {
    go: oneshot::Sender<u32>,
    load: tokio::task::JoinHandle<u32>,
}

impl Slow {
    /// `late` are tags that the load puts on its value.
    async fn begin(cache: &Cache, id: u32, tags: &[&str], late: &'static [&'static str]) -> Self {
        let (go, gone) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let (cache, policy) = (cache.clone(), tagged(tags));
        let load = tokio::spawn(async move {
            let load = || async {
                begun.send(()).unwrap();
                let value = gone.await.unwrap();
                for tag in late {
                    CacheContext::current().expect("within a load").tag(tag);
                }
                value
            };
            cache.get_or_load(&key(id), policy, load).await
        });
        begins.await.unwrap();
        Self { go, load }
    }

    async fn end(self, value: u32) {
        self.go.send(value).unwrap();
        assert_eq!(self.load.await.unwrap(), value, "its caller gets it");
    }
}

async fn held(cache: &Cache, id: u32) -> Option<u32> {
    cache.get(&key(id)).await.unwrap()
}

#[tokio::test]
async fn a_tag_takes_its_entries_along_and_no_others() {
    let cache = Cache::memory();
    for (id, tags) in [(1, &["a"][..]), (2, &["a", "b"]), (3, &["b"]), (4, &[])] {
        cache.set(&key(id), &id, tagged(tags)).await.unwrap();
    }
    let done = cache.invalidate_tag("a").await.unwrap();
    assert_eq!(
        (done.removed, done.reach),
        (0, Reach::Applied),
        "they are not counted"
    );
    let left = [held(&cache, 1).await, held(&cache, 2).await];
    assert_eq!(left, [None, None]);
    assert_eq!(held(&cache, 3).await, Some(3));
    assert_eq!(held(&cache, 4).await, Some(4));
    let many = cache.get_many::<u32>(&[key(1), key(3)]).await.unwrap();
    assert_eq!(many, [None, Some(3)]);
    let _ = cache.invalidate_tags(["b", "never used"]).await.unwrap();
    assert_eq!(held(&cache, 3).await, None);
    assert_eq!(held(&cache, 4).await, Some(4), "an entry without tags");
}

#[tokio::test]
async fn an_entry_that_was_loaded_anew_is_not_what_was_invalidated() {
    let cache = Cache::memory();
    for value in 0..3 {
        let load = || async { value };
        assert_eq!(
            cache.get_or_load(&key(1), tagged(&["a"]), load).await,
            value
        );
        assert_eq!(held(&cache, 1).await, Some(value));
        let _ = cache.invalidate_tag("a").await.unwrap();
        assert_eq!(held(&cache, 1).await, None);
    }
    let counts = cache.stats();
    assert_eq!(counts.expirations, 0, "no TTL has ended");
    assert_eq!(counts.total.loads, 3);
}

/// Scar 1: invalidation during a load is lost.
#[tokio::test]
async fn scar_1_a_load_under_way_is_not_stored_when_its_tag_is_invalidated() {
    let cache = Cache::memory();
    let slow = Slow::begin(&cache, 1, &["a", "b"], &[]).await;
    let _ = cache.invalidate_tag("b").await.unwrap();
    slow.end(1).await;
    assert_eq!(held(&cache, 1).await, None);
    assert_eq!(cache.stats().total.fenced, 1);

    let slow = Slow::begin(&cache, 1, &["a", "b"], &[]).await;
    let _ = cache.invalidate_tag("c").await.unwrap();
    slow.end(2).await;
    assert_eq!(
        held(&cache, 1).await,
        Some(2),
        "another tag is nothing to it"
    );
}

#[tokio::test]
async fn who_comes_after_an_invalidation_shares_no_load_from_before() {
    let cache = Cache::memory();
    let slow = Slow::begin(&cache, 1, &["a"], &[]).await;
    let early = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_load(&key(1), tagged(&["a"]), || async { 9_u32 })
                .await
        }
    });
    tokio::task::yield_now().await;
    let _ = cache.invalidate_tag("a").await.unwrap();
    let late = cache
        .get_or_load(&key(1), tagged(&["a"]), || async { 2_u32 })
        .await;
    assert_eq!(late, 2, "it loads for itself");
    slow.end(1).await;
    assert_eq!(early.await.unwrap(), 1, "who was there before shares");
    assert_eq!(
        held(&cache, 1).await,
        Some(2),
        "the old load overwrites nothing"
    );
}

#[tokio::test]
async fn tags_of_the_value_count_like_others() {
    let cache = Cache::memory();
    Slow::begin(&cache, 1, &["a"], &["a", "late"])
        .await
        .end(1)
        .await;
    assert_eq!(held(&cache, 1).await, Some(1));
    let _ = cache.invalidate_tag("late").await.unwrap();
    assert_eq!(held(&cache, 1).await, None);
    assert!(CacheContext::current().is_none(), "outside of a load");
}

#[tokio::test]
async fn a_value_with_tags_of_its_own_is_not_stored_after_any_invalidation() {
    let cache = Cache::memory();
    // Nobody knows yet what the load will bring, so any tag may be the one.
    for tag in ["late", "another"] {
        let slow = Slow::begin(&cache, 1, &[], &["late"]).await;
        let _ = cache.invalidate_tag(tag).await.unwrap();
        slow.end(1).await;
        assert_eq!(held(&cache, 1).await, None);
    }
    let slow = Slow::begin(&cache, 1, &[], &[]).await;
    let _ = cache.invalidate_tag("another").await.unwrap();
    slow.end(1).await;
    assert_eq!(
        held(&cache, 1).await,
        Some(1),
        "a value without such tags is"
    );
}

#[tokio::test]
async fn who_comes_after_an_invalidation_shares_no_value_that_may_have_been_meant() {
    let cache = Cache::memory();
    let join = || {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_load(&key(1), MINUTE, || async { 2_u32 }).await })
    };
    let slow = Slow::begin(&cache, 1, &[], &["late"]).await;
    let early = join();
    tokio::task::yield_now().await;
    let _ = cache.invalidate_tag("late").await.unwrap();
    let late = [join(), join()];
    tokio::task::yield_now().await;
    slow.end(1).await;
    assert_eq!(early.await.unwrap(), 1);
    for late in late {
        assert_eq!(late.await.unwrap(), 2);
    }
    assert_eq!(
        cache.stats().total.loads,
        2,
        "those who load anew do it together"
    );
    assert_eq!(held(&cache, 1).await, Some(2));
}

#[tokio::test]
async fn a_refresh_and_a_bypass_know_tags_too() {
    let cache = Cache::memory();
    let load = |value| {
        let cache = cache.clone();
        async move {
            cache
                .get_or_load(&key(1), tagged(&["a"]), || async move { value })
                .await
        }
    };
    assert_eq!(dexter_cache::refresh(load(1_u32)).await, 1);
    assert_eq!(dexter_cache::bypass(load(2)).await, 2);
    assert_eq!(held(&cache, 1).await, Some(1));
    let _ = cache.invalidate_tag("a").await.unwrap();
    assert_eq!(held(&cache, 1).await, None);
}

#[tokio::test]
async fn tags_act_although_the_cache_is_off() {
    let cache = Cache::memory();
    cache.set(&key(1), &1_u32, tagged(&["a"])).await.unwrap();
    cache.disable();
    let _ = cache.invalidate_tag("a").await.unwrap();
    cache.enable();
    assert_eq!(held(&cache, 1).await, None);
}

/// Scar 18: sets of keys under a tag grow for ever. That the table itself is bounded is tested where it is.
#[tokio::test]
async fn scar_18_entries_and_tags_without_number_stay_bounded() {
    let cache = Cache::builder().memory_capacity(100).build().await.unwrap();
    for id in 0..20_000_u32 {
        let policy = Policy::new(MINUTE).tag("all").tag(format!("own:{id}"));
        cache.set(&key(id), &id, policy).await.unwrap();
    }
    assert!(cache.stats().entries <= 100);
    let _ = cache.invalidate_tag("all").await.unwrap();
    for id in 0..20_000 {
        assert_eq!(held(&cache, id).await, None);
    }
    assert_eq!(cache.stats().entries, 0, "what was asked for is given back");
}

/// Scar 15: what was cleared is fallen back on. Without a stale window there is nothing to fall back on either way.
#[tokio::test]
async fn scar_15_a_clear_leaves_nothing() {
    for how in [Clear::Remove, Clear::Expire] {
        let cache = Cache::memory();
        cache.set(&self::key(1), &1, tagged(&["a"])).await.unwrap();
        cache.set(&self::key(2), &2, MINUTE).await.unwrap();
        assert_eq!(cache.clear_with(how).await.unwrap().removed, 2);
        let key = key(1);
        let failed = cache.try_get_or_load(&key, MINUTE, || async { Err::<u32, _>("down") });
        assert_eq!(failed.await, Err("down"));
        assert_eq!(held(&cache, 2).await, None);
        assert_eq!(cache.stats().entries, 0);
    }
}

#[derive(CacheKey, Clone)]
struct Filter {
    project: String,
}

#[cached(ttl = 60, prefix = "get_issue", tags = ["issue:{id}", "issues"])]
async fn get_issue(id: u64, loads: &Loads) -> u64 {
    loads.add(id)
}

#[cached(ttl = 60, prefix = "find", tags = ["project:{filter.project}", "page:{{{page}}}"])]
async fn find(filter: Filter, page: Option<u32>, loads: Arc<Loads>) -> Result<u64, String> {
    Ok(loads.add(u64::from(page.unwrap_or(0)) + filter.project.len() as u64))
}

struct Pair(u64, u64);

impl CacheKey for Pair {
    fn write_key(&self, out: &mut dexter_cache::KeyWriter<'_>) {
        out.display(format_args!("{}-{}", self.0, self.1));
    }
}

#[cached(ttl = 60, prefix = "pair", tags = ["first:{first}", "policy:{policy}"], skip(loads, policy))]
async fn pair(Pair(first, second): Pair, policy: &str, loads: &Loads) -> u64 {
    loads.add(first + second + policy.len() as u64)
}

struct Sentry {
    organization: String,
    loads: Loads,
    cache: Cache,
}

impl Sentry {
    #[cached(ttl = 60, prefix = "events", cache = self.cache, key(organization = self.organization), tags = ["org:{self.organization}"])]
    async fn events(&self, range: u64) -> u64 {
        self.loads.add(range)
    }

    #[invalidates(tag = "org:{self.organization}", cache = self.cache)]
    async fn write(&self) {}
}

#[invalidates(tag = "issue:{id}")]
async fn change(id: u64, fail: bool) -> Result<(), ()> {
    if fail { Err(()) } else { Ok(()) }
}

struct Moved {
    from: u64,
    to: u64,
}

#[invalidates(
    tag = "issue:{result.from}",
    tag = "issue:{result.to}",
    tag = "project:{project}"
)]
async fn move_issue(id: u64, project: String) -> Result<Moved, ()> {
    let _ = project;
    Ok(Moved {
        from: id,
        to: id + 1,
    })
}

/// A counter that is no part of the key.
#[derive(Default)]
struct Loads(Counter);

impl Loads {
    fn add(&self, value: u64) -> u64 {
        self.0.add();
        value
    }
}

impl CacheKey for Loads {
    fn write_key(&self, _: &mut dexter_cache::KeyWriter<'_>) {}
}

#[tokio::test]
async fn tags_of_an_attribute_are_made_of_arguments() {
    let cache = Cache::memory();
    let loads = Loads::default();
    let shared = Arc::new(Loads::default());
    let web = Filter {
        project: "w e/b".to_owned(),
    };
    cache
        .scope(async {
            // A value in a tag reads as in a key.
            for (tag, loads) in [
                ("project:w e/b", 1),
                ("project:w%20e/b", 2),
                ("page:{%-}", 3),
                ("page:{1}", 3),
            ] {
                find(web.clone(), None, Arc::clone(&shared)).await.unwrap();
                let _ = cache.invalidate_tag(tag).await.unwrap();
                find(web.clone(), None, Arc::clone(&shared)).await.unwrap();
                assert_eq!(shared.0.get(), loads, "{tag}");
            }
            for id in [7, 8, 7, 8] {
                get_issue(id, &loads).await;
            }
            assert_eq!(loads.0.get(), 2);
            change(7, true).await.unwrap_err();
            get_issue(7, &loads).await;
            assert_eq!(loads.0.get(), 2, "what fails changes nothing");
            change(7, false).await.unwrap();
            get_issue(7, &loads).await;
            get_issue(8, &loads).await;
            assert_eq!(loads.0.get(), 3);
            move_issue(7, "w e/b".to_owned()).await.unwrap();
            get_issue(7, &loads).await;
            get_issue(8, &loads).await;
            assert_eq!(loads.0.get(), 5);
            let _ = cache.invalidate_tag("issues").await.unwrap();
            get_issue(7, &loads).await;
            get_issue(8, &loads).await;
            assert_eq!(loads.0.get(), 7);
            for tag in ["first:1", "policy:p"] {
                pair(Pair(1, 2), "p", &loads).await;
                let before = loads.0.get();
                pair(Pair(1, 2), "p", &loads).await;
                assert_eq!(loads.0.get(), before);
                let _ = cache.invalidate_tag(tag).await.unwrap();
                pair(Pair(1, 2), "p", &loads).await;
                assert_eq!(loads.0.get(), before + 1);
            }
        })
        .await;
}

#[tokio::test]
async fn tags_of_a_method_are_made_of_self() {
    let sentry = Sentry {
        organization: "my".to_owned(),
        loads: Loads::default(),
        cache: Cache::memory(),
    };
    for round in 1..=3 {
        sentry.events(1).await;
        sentry.events(1).await;
        assert_eq!(sentry.loads.0.get(), round);
        sentry.write().await;
    }
}

#[tokio::test]
async fn a_pattern_and_a_tag_go_together() {
    let cache = Cache::memory();
    cache.set(&key(1), &1_u32, tagged(&["a"])).await.unwrap();
    let _ = cache
        .invalidate(&KeyPattern::new("tagged:*"))
        .await
        .unwrap();
    assert_eq!(held(&cache, 1).await, None);
    cache.set(&key(1), &2_u32, MINUTE).await.unwrap();
    let _ = cache.invalidate_tag("a").await.unwrap();
    assert_eq!(
        held(&cache, 1).await,
        Some(2),
        "what was stored last decides about the tags"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Load { id: u32, tags: Vec<u8> },
    Set { id: u32, tags: Vec<u8> },
    Invalidate(Vec<u8>),
    Remove(u32),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let tags = || proptest::collection::vec(0..6_u8, 0..4);
    prop_oneof![
        4 => (0..8_u32, tags()).prop_map(|(id, tags)| Step::Load { id, tags }),
        2 => (0..8_u32, tags()).prop_map(|(id, tags)| Step::Set { id, tags }),
        3 => tags().prop_map(Step::Invalidate),
        1 => (0..8_u32).prop_map(Step::Remove),
        1 => Just(Step::Clear),
    ]
}

fn policy_of(tags: &[u8]) -> Policy {
    Policy::new(MINUTE).tags(tags.iter().map(|tag| format!("tag:{tag}")))
}

proptest! {
    #[test]
    fn tags_do_what_a_search_through_all_entries_would(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = Cache::memory();
            let mut model: BTreeMap<u32, (u64, Vec<u8>)> = BTreeMap::new();
            let next = AtomicU64::new(0);
            for step in steps {
                match step {
                    Step::Load { id, tags } => {
                        let load = || async { next.fetch_add(1, Ordering::Relaxed) };
                        let value = cache.get_or_load(&key(id), policy_of(&tags), load).await;
                        let expected = model.entry(id).or_insert((value, tags)).0;
                        assert_eq!(value, expected);
                    }
                    Step::Set { id, tags } => {
                        let value = next.fetch_add(1, Ordering::Relaxed);
                        cache.set(&key(id), &value, policy_of(&tags)).await.unwrap();
                        model.insert(id, (value, tags));
                    }
                    Step::Invalidate(tags) => {
                        let texts = tags.iter().map(|tag| format!("tag:{tag}"));
                        let _ = cache.invalidate_tags(texts).await.unwrap();
                        model.retain(|_, (_, own)| !own.iter().any(|tag| tags.contains(tag)));
                    }
                    Step::Remove(id) => {
                        let _ = cache.remove(&key(id)).await.unwrap();
                        model.remove(&id);
                    }
                    Step::Clear => {
                        let _ = cache.clear().await.unwrap();
                        model.clear();
                    }
                }
                for id in 0..8 {
                    let held = cache.get::<u64>(&key(id)).await.unwrap();
                    assert_eq!(held, model.get(&id).map(|(value, _)| *value));
                }
            }
        });
    }
}
