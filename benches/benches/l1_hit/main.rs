//! What does a hit in memory cost, through the macro?
//!
//! One group for each form of arguments (borrowed strings, owned ones, only `Copy`), each kind of value (`Arc<T>`, a `T`
//! of 1 KB that is cloned) and one and two threads. 256 keys lie in the cache, which has room for 100,000; a deadline
//! is checked by all. A time is that of one call on one thread, a fence between calls.
//!
//! Beside `dexter-cache` (default features, inside of a scope, statistics on):
//! * `floor`: what a person would write by hand for this one function. The readable key on the stack, no escaping, a
//!   hash, a look-up in `quick_cache`, the coarse clock, a clone. No flights, no statistics, no scope.
//! * `quick_cache`: by hand as its documentation has it. Borrowed parts as the key (`Equivalent`), `Instant` as deadline.
//! * `cached` by `#[cached]` and by `#[concurrent_cached]`, bounded, with a TTL, keys by `convert` where arguments are
//!   borrowed. Neither keeps a stampede away in this form, which is its fastest.
//! * `moka`: `future::Cache::try_get_with_by_ref`, the same fast hash.

mod by_hand;
mod cached_crate;
mod dexter;
mod moka_crate;

use std::future::Future;
use std::hint::black_box;
use std::sync::LazyLock;

use benches::{MEASURE, WARM_UP, fence, on_threads};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use dexter_cache::Cache;

const KEYS: usize = 256;

static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..KEYS)
        .map(|key| format!("/api/v1/issues/{}", 100_000 + key))
        .collect()
});
static CACHE: LazyLock<Cache> = LazyLock::new(Cache::memory);

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE)
        // Short ones, so that on a shared machine some of them are not interrupted: see the report's best tenth.
        .sample_size(100)
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    macro_rules! group {
        ($value:ident, $threads:literal: $borrowed:ident, $owned:ident, $copy:ident) => {
            group!(@ $value, $threads, "borrowed", $borrowed, |key: usize| (path(key), Some("is:open")));
            group!(@ $value, $threads, "owned", $owned, |key: usize| (path(key).to_owned(), Some("is:open".to_owned())));
            group!(@ $value, $threads, "copy", $copy, |key: usize| (key as u64, 7_u32));
        };
        (@ $value:ident, $threads:literal, $arguments:literal, $function:ident, $make:expr) => {
            let name = concat!("l1_hit ", $arguments, " ", stringify!($value), " ", $threads);
            let mut group = criterion.benchmark_group(name);
            group.sampling_mode(SamplingMode::Flat);
            let make = $make;
            row(&mut group, "dexter-cache", $threads, |key| { let (a, b) = make(key); dexter::$function(a, b) });
            row(&mut group, "floor", $threads, |key| { let (a, b) = make(key); by_hand::floor::$function(a, b) });
            row(&mut group, "quick_cache", $threads, |key| { let (a, b) = make(key); by_hand::quick::$function(a, b) });
            row(&mut group, "cached concurrent_cached", $threads, |key| { let (a, b) = make(key); cached_crate::sharded::$function(a, b) });
            row(&mut group, "cached cached", $threads, |key| { let (a, b) = make(key); cached_crate::one_lock::$function(a, b) });
            row(&mut group, "moka", $threads, |key| { let (a, b) = make(key); moka_crate::$function(a, b) });
            group.finish();
        };
    }
    group!(arc, 1: borrowed_arc, owned_arc, copy_arc);
    group!(arc, 2: borrowed_arc, owned_arc, copy_arc);
    group!(value, 1: borrowed_value, owned_value, copy_value);
    group!(value, 2: borrowed_value, owned_value, copy_value);
    parts(&mut criterion);
    criterion.final_summary();
}

/// What the figures above contain although no cache costs it.
fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("l1_hit parts");
    row(&mut group, "loop and fence", 1, |key| async move { key });
    row(&mut group, "two strings made", 1, |key| async move {
        (path(key).to_owned(), "is:open".to_owned())
    });
    let issue = benches::Issue::sample(1);
    row(&mut group, "clone of the value", 1, |_| async {
        issue.clone()
    });
    group.finish();
}

fn path(key: usize) -> &'static str {
    &PATHS[key]
}

fn row<F: Future>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    threads: usize,
    call: impl Fn(usize) -> F + Sync,
) {
    let calls = |count: usize| {
        let call = &call;
        CACHE.scope(async move {
            for key in 0..count {
                fence();
                black_box(call(black_box(key % KEYS)).await);
            }
        })
    };
    on_threads(1, |_| calls(KEYS));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let count = usize::try_from(count).expect("a count fits");
            on_threads(threads, |_| calls(count))
        });
    });
}
