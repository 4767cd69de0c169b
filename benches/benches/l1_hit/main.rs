//! What does a hit in memory cost, through the macro?
//!
//! One group for each form of arguments (borrowed strings, owned ones, only `Copy`), each kind of value (`Arc<T>`, a `T`
//! of 1 KB that is cloned) and one and two threads. 256 keys lie in the cache, which has room for 100,000; a deadline
//! is checked by all. A time is that of one call on one thread, a fence between calls. All rows of a group are measured in
//! turns, and every turn asserts that nothing was loaded.
//!
//! Beside `dexter-cache` (default features, inside of a scope, statistics on):
//! * `dexter-cache slowest`: the function that a hit costs most, so far as options can do that: owned text of which
//!   characters are escaped, two tags made of it, a fallback, refreshing ahead, a `None` that is remembered. With `--features
//!   http` there is `dexter-cache slowest, HTTP` as well: the same under `CacheContextLayer`.
//! * `floor`: what a person would write by hand for this one function. The readable key on the stack, no escaping, a
//!   hash, a look-up in `quick_cache`, the coarse clock, a clone. No flights, no statistics, no scope.
//! * `quick_cache`: by hand as its documentation has it. Borrowed parts as the key (`Equivalent`), `Instant` as deadline.
//! * `cached` by `#[cached]` and by `#[concurrent_cached]`, bounded, with a TTL, keys by `convert` where arguments are
//!   borrowed. Neither keeps a stampede away in this form, which is its fastest.
//! * `moka`: `future::Cache::try_get_with_by_ref`, the same fast hash.
//! * `cachet`, `amalgam`, `hitbox`, `multi-tier-cache`: what stands at the top of their files. `oxcache` cannot be resolved
//!   beside `hitbox` (see `benches/versus/oxcache`).

mod amalgam_crate;
mod by_hand;
mod cached_crate;
mod cachet_crate;
mod dexter;
#[path = "../shared/hitbox_answer.rs"]
mod hitbox_answer;
mod hitbox_crate;
#[cfg(feature = "http")]
mod http_layer;
mod moka_crate;
mod multi_tier_crate;

use std::future::Future;
use std::hint::black_box;
use std::sync::LazyLock;

use benches::{Turns, fence, loads, on_threads};
use criterion::Criterion;
use dexter_cache::Cache;

const KEYS: usize = 256;

static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..KEYS)
        .map(|key| format!("/api/v1/issues/{}", 100_000 + key))
        .collect()
});
static ESCAPED: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..KEYS)
        .map(|key| format!("/api/v1/issues/{} [a=b&c]", 100_000 + key))
        .collect()
});
static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);

fn main() {
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    macro_rules! group {
        ($value:ident, $threads:literal: $borrowed:ident, $owned:ident, $copy:ident, $slowest:ident) => {
            group!(@ $value, $threads, "borrowed", $borrowed, |key: usize| (path(key), Some("is:open")), |_: &mut Turns<'_>| {});
            group!(@ $value, $threads, "owned", $owned, |key: usize| (path(key).to_owned(), Some("is:open".to_owned())), |turns: &mut Turns<'_>| {
                let call = |key: usize| dexter::$slowest(ESCAPED[key].clone(), Some("is:open".to_owned()));
                row(turns, "dexter-cache slowest", $threads, call);
                #[cfg(feature = "http")]
                http_layer::row(turns, "dexter-cache slowest, HTTP", $threads, call);
            });
            group!(@ $value, $threads, "copy", $copy, |key: usize| (key as u64, 7_u32), |_: &mut Turns<'_>| {});
        };
        (@ $value:ident, $threads:literal, $arguments:literal, $function:ident, $make:expr, $more:expr) => {
            let mut turns = Turns::new();
            let make = $make;
            row(&mut turns, "dexter-cache", $threads, |key| { let (a, b) = make(key); dexter::$function(a, b) });
            $more(&mut turns);
            row(&mut turns, "floor", $threads, |key| { let (a, b) = make(key); by_hand::floor::$function(a, b) });
            row(&mut turns, "quick_cache", $threads, |key| { let (a, b) = make(key); by_hand::quick::$function(a, b) });
            row(&mut turns, "cached concurrent_cached", $threads, |key| { let (a, b) = make(key); cached_crate::sharded::$function(a, b) });
            row(&mut turns, "cached cached", $threads, |key| { let (a, b) = make(key); cached_crate::one_lock::$function(a, b) });
            row(&mut turns, "moka", $threads, |key| { let (a, b) = make(key); moka_crate::$function(a, b) });
            row(&mut turns, "cachet", $threads, |key| { let (a, b) = make(key); cachet_crate::$function(a, b) });
            row(&mut turns, "amalgam", $threads, |key| { let (a, b) = make(key); amalgam_crate::$function(a, b) });
            row(&mut turns, "multi-tier-cache", $threads, |key| { let (a, b) = make(key); multi_tier_crate::$function(a, b) });
            row(&mut turns, "hitbox", $threads, |key| { let (a, b) = make(key); hitbox_crate::$function(a, b) });
            turns.measure(&mut criterion, concat!("l1_hit ", $arguments, " ", stringify!($value), " ", $threads));
        };
    }
    group!(arc, 1: borrowed_arc, owned_arc, copy_arc, slowest_arc);
    group!(arc, 2: borrowed_arc, owned_arc, copy_arc, slowest_arc);
    group!(value, 1: borrowed_value, owned_value, copy_value, slowest_value);
    group!(value, 2: borrowed_value, owned_value, copy_value, slowest_value);
    parts(&mut criterion);
    criterion.final_summary();
}

/// What the figures above contain although no cache costs it.
fn parts(criterion: &mut Criterion) {
    let issue = benches::Issue::sample(1);
    let mut turns = Turns::new();
    row(&mut turns, "loop and fence", 1, |key| async move { key });
    row(&mut turns, "two strings made", 1, |key| async move {
        (path(key).to_owned(), "is:open".to_owned())
    });
    row(&mut turns, "clone of the value", 1, |_| async {
        issue.clone()
    });
    turns.measure(criterion, "l1_hit parts");
}

fn path(key: usize) -> &'static str {
    &PATHS[key]
}

/// Each key is loaded once; after that nothing may be.
fn row<'a, F: Future>(
    turns: &mut Turns<'a>,
    name: &'a str,
    threads: usize,
    call: impl Fn(usize) -> F + Sync + 'a,
) {
    hits(turns, name, threads, move |count| {
        let call = &call;
        on_threads(threads, |_| {
            CACHE.scope(async move {
                for key in 0..count {
                    fence();
                    black_box(call(black_box(key % KEYS)).await);
                }
            })
        })
    });
}

/// A row that asserts that it hits.
fn hits<'a>(
    turns: &mut Turns<'a>,
    name: &'a str,
    threads: usize,
    run: impl Fn(usize) -> std::time::Duration + 'a,
) {
    let mut filled = false;
    turns.row(name, move |count| {
        if !filled {
            run(KEYS);
            filled = true;
        }
        let before = loads();
        let took = run(usize::try_from(count).expect("a count fits"));
        assert_eq!(loads(), before, "{name} with {threads} threads has loaded");
        took
    });
}
