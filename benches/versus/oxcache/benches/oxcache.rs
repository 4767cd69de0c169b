//! A hit in memory through `oxcache`'s macro, with a row of dexter-cache and the floor of `l1_hit` beside it, in turns.
//!
//! As its documentation has it: `#[cached(service = .., ttl = ..)]`, a bounded cache registered by name. It holds JSON and
//! decodes it on every hit, and its macro takes owned arguments. Features of dependencies unify: `oxcache` turns on
//! `serde_json/unbounded_depth` and more of tokio for all rows here.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use benches::{ApiError, Issue, Turns, fence, loads, on_threads};
use criterion::Criterion;
use dexter_cache::Cache;

#[path = "../../../benches/l1_hit/by_hand.rs"]
#[allow(dead_code, reason = "what l1_hit uses besides")]
mod by_hand;

const KEYS: usize = 256;

static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);
static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..KEYS)
        .map(|key| format!("/api/v1/issues/{}", 100_000 + key))
        .collect()
});

mod dexter {
    use super::{ApiError, Issue};

    #[dexter_cache::cached(ttl = "5m", prefix = "owned_value")]
    pub(crate) async fn owned(path: String, query: Option<String>) -> Result<Issue, ApiError> {
        let _ = query;
        Ok(Issue::sample(path.len() as u64))
    }

    #[dexter_cache::cached(ttl = "5m", prefix = "copy_value")]
    pub(crate) async fn copy(id: u64, page: u32) -> Result<Issue, ApiError> {
        Ok(Issue::sample(id + u64::from(page)))
    }
}

mod ox {
    use super::{ApiError, Issue};
    use oxcache::cached;

    #[cached(service = "owned", ttl = 300)]
    pub(crate) async fn owned(path: String, query: Option<String>) -> Result<Issue, ApiError> {
        let _ = query;
        Ok(Issue::sample(path.len() as u64))
    }

    #[cached(service = "copy", ttl = 300)]
    pub(crate) async fn copy(id: u64, page: u32) -> Result<Issue, ApiError> {
        Ok(Issue::sample(id + u64::from(page)))
    }

    pub(crate) async fn register() {
        for service in ["owned", "copy"] {
            let cache: oxcache::Cache<String, Vec<u8>> = oxcache::Cache::builder()
                .capacity(100_000)
                .ttl(std::time::Duration::from_secs(300))
                .build()
                .await
                .expect("a cache in memory");
            let registered = cache.register_for_macro(service).await;
            registered.expect("a name of its own");
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .output_directory(&benches::criterion_dir())
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    on_threads(1, |_| ox::register());
    for threads in [1, 2] {
        let owned = |key: usize| (PATHS[key].clone(), Some("is:open".to_owned()));
        let mut turns = Turns::new();
        row(&mut turns, "dexter-cache", threads, move |key| {
            let (path, query) = owned(key);
            dexter::owned(path, query)
        });
        row(&mut turns, "floor", threads, move |key| {
            let (path, query) = owned(key);
            by_hand::floor::owned_value(path, query)
        });
        row(&mut turns, "oxcache", threads, move |key| {
            let (path, query) = owned(key);
            ox::owned(path, query)
        });
        turns.measure(&mut criterion, &format!("oxcache owned value {threads}"));
        let mut turns = Turns::new();
        row(&mut turns, "dexter-cache", threads, |key| {
            dexter::copy(key as u64, 7)
        });
        row(&mut turns, "floor", threads, |key| {
            by_hand::floor::copy_value(key as u64, 7)
        });
        row(&mut turns, "oxcache", threads, |key| {
            ox::copy(key as u64, 7)
        });
        turns.measure(&mut criterion, &format!("oxcache copy value {threads}"));
    }
    criterion.final_summary();
}

/// Each key is loaded once; after that nothing may be.
fn row<'a, F: Future>(
    turns: &mut Turns<'a>,
    name: &'static str,
    threads: usize,
    call: impl Fn(usize) -> F + Sync + 'a,
) {
    let mut filled = false;
    turns.row(name, move |count| {
        let run = |count: u64| -> Duration {
            let call = &call;
            on_threads(threads, |_| {
                CACHE.scope(async move {
                    for key in 0..count {
                        fence();
                        black_box(call(black_box(key as usize % KEYS)).await);
                    }
                })
            })
        };
        if !filled {
            filled = true;
            run(KEYS as u64);
        }
        let before = loads();
        let took = run(count);
        assert_eq!(loads(), before, "{name} has loaded");
        took
    });
}
