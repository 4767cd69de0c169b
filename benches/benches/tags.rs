//! What do tags cost a hit, and what does it cost to invalidate one?
//!
//! The annotated function with none, one and four tags: in memory, in memory in front of Redis (`tiered`), in Redis (16
//! tasks); every turn asserts that nothing was loaded. The row `dexter-cache` has one. In memory beside `amalgam-cache`, which has
//! tags, too. Then the invalidation of a tag that 10, and 100,000 entries bear (20,000 in Redis; the row `dexter-cache`).

#[path = "shared/tasks.rs"]
mod tasks;

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use benches::{Issue, Turns};
use criterion::Criterion;
use dexter_cache::{Cache, Key, Policy, Ttl, cached};
use support::RedisServer;
use tokio::runtime::{Builder, Runtime};

use crate::tasks::Callers;

const KEYS: usize = 256;

#[cached(ttl = "1h", prefix = "no_tag")]
async fn no_tag(id: u64) -> Arc<Issue> {
    Arc::new(Issue::sample(id))
}

#[cached(ttl = "1h", prefix = "one_tag", tags = ["issue:{id}"])]
async fn one_tag(id: u64) -> Arc<Issue> {
    Arc::new(Issue::sample(id))
}

#[cached(ttl = "1h", prefix = "four_tags", tags = ["issue:{id}", "issues", "organization:myorg", "project:web"])]
async fn four_tags(id: u64) -> Arc<Issue> {
    Arc::new(Issue::sample(id))
}

type Amalgam = LazyLock<amalgam::Cache<Arc<Issue>>>;

fn amalgam() -> amalgam::Cache<Arc<Issue>> {
    let options = amalgam::EntryOptions::default().with_duration(Duration::from_hours(1));
    let cache = amalgam::Cache::builder().max_capacity(100_000);
    let cache = cache.default_options(options).try_build();
    cache.expect("a cache in memory")
}

async fn amalgam_no_tag(id: u64) -> Arc<Issue> {
    static CACHE: Amalgam = LazyLock::new(amalgam);
    let load =
        move |_| async move { Ok::<_, std::convert::Infallible>(Arc::new(Issue::sample(id))) };
    let value = CACHE.get_or_set(format!("no_tag:id={id}"), load).await;
    value.expect("an issue")
}

async fn amalgam_one_tag(id: u64) -> Arc<Issue> {
    static CACHE: Amalgam = LazyLock::new(amalgam);
    let load =
        move |_| async move { Ok::<_, std::convert::Infallible>(Arc::new(Issue::sample(id))) };
    let call = CACHE.get_or_set(format!("one_tag:id={id}"), load);
    let value = call.tags([format!("issue:{id}")]).await;
    value.expect("an issue")
}

fn main() {
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = RedisServer::start();
    let memory = Cache::memory();
    let tiered = Cache::builder().redis(server.url()).namespace("tiered");
    let tiered = runtime.block_on(tiered.tiered().build()).expect("a cache");
    let redis = Cache::builder().redis(server.url()).namespace("redis");
    let redis = runtime.block_on(redis.build()).expect("a cache");
    let short = Duration::from_millis(4);
    hits(
        &mut criterion,
        "memory",
        &runtime,
        &memory,
        1,
        Turns::of(60, short),
    );
    hits(
        &mut criterion,
        "tiered",
        &runtime,
        &tiered,
        1,
        Turns::of(60, short),
    );
    let long = Duration::from_millis(40);
    hits(
        &mut criterion,
        "redis",
        &runtime,
        &redis,
        16,
        Turns::of(25, long),
    );
    invalidations(&mut criterion, &runtime, &memory, &redis);
    criterion.final_summary();
}

fn hits<'a>(
    criterion: &mut Criterion,
    tier: &str,
    runtime: &'a Runtime,
    cache: &'a Cache,
    tasks: usize,
    mut turns: Turns<'a>,
) {
    let callers = Callers {
        runtime,
        cache,
        tasks,
        keys: KEYS,
    };
    row(&mut turns, "dexter-cache", callers, |id| async move {
        one_tag(id).await.id
    });
    row(
        &mut turns,
        "dexter-cache untagged",
        callers,
        |id| async move { no_tag(id).await.id },
    );
    row(
        &mut turns,
        "dexter-cache four tags",
        callers,
        |id| async move { four_tags(id).await.id },
    );
    if tier == "memory" {
        row(&mut turns, "amalgam untagged", callers, |id| async move {
            amalgam_no_tag(id).await.id
        });
        row(&mut turns, "amalgam", callers, |id| async move {
            amalgam_one_tag(id).await.id
        });
    }
    turns.measure(criterion, &format!("tags {tier}"));
}

fn row<'a, F>(
    turns: &mut Turns<'a>,
    name: &'static str,
    callers: Callers<'a>,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) where
    F: Future<Output = u64> + Send + 'static,
{
    let mut filled = false;
    turns.row(name, move |count| {
        if !filled {
            filled = true;
            callers.fill(call.clone());
            // In the memory in front of Redis lies what was read from Redis.
            callers.run(4 * KEYS, call.clone());
        }
        callers.hits(usize::try_from(count).expect("a count fits"), call.clone())
    });
}

/// One tag is invalidated again and again; how many entries bear it must not matter.
fn invalidations(criterion: &mut Criterion, runtime: &Runtime, memory: &Cache, redis: &Cache) {
    for (tier, cache, many) in [("memory", memory, 100_000), ("redis", redis, 20_000)] {
        let mut turns = Turns::of(25, Duration::from_millis(4));
        for entries in [10_u64, many] {
            let tag = format!("{entries} entries");
            runtime.block_on(async {
                for id in 0..entries {
                    let key = Key::new("labelled").part("of", &entries).part("id", &id);
                    let policy = Policy::from(Ttl::secs(3600)).tag(&tag);
                    cache.set(&key, &id, policy).await.expect("stored");
                }
            });
            let name = if entries == many {
                "dexter-cache".to_owned()
            } else {
                format!("dexter-cache {tag}")
            };
            turns.row(&name, move |count| {
                runtime.block_on(async {
                    let begun = Instant::now();
                    for _ in 0..count {
                        cache.invalidate_tag(&tag).await.expect("invalidated");
                    }
                    begun.elapsed()
                })
            });
        }
        turns.measure(criterion, &format!("tags invalidate {tier}"));
    }
}
