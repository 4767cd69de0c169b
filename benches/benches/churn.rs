//! What does get-or-load cost where most of what is asked for does not fit, and how often does it hit?
//!
//! Capacity for 1, 5 and 10 % of 100,000 keys that are asked for under zipf 1.0; one and two threads. Loading costs
//! nothing but the value's allocation, so what is timed is look-ups, insertions and evictions. Against `quick_cache` with a
//! deadline, its own single flight, and the same readable text as key, and against `moka`'s `get_with_by_ref`. The load of the
//! annotated function runs in a task of its own, as it does by default; beside it the same with `detach = false`, and
//! `Cache::get_or_load`, which both run it where they are called, as the others do. The rows are
//! measured in turns. The hit ratio of the first million requests is noted; `hit_ratio` has more laws.
//!
//! With `DEXTER_TRACE=/path/to/trace.lis` a recorded trace is replayed as well (lines `first_block number_of_blocks
//! ignored request`), with capacity for 1, 5 and 10 % of the blocks in it.

use std::collections::HashSet;
use std::future::Future;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use benches::{Turns, note, on_threads, trace, zipf};
use criterion::Criterion;
use dexter_cache::{Cache, Key, Ttl, cached};
use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;

const UNIVERSE: u32 = 100_000;
const REQUESTS: usize = 1_000_000;
const TTL: Duration = Duration::from_mins(5);

static LOADS: AtomicU64 = AtomicU64::new(0);

type Value = Arc<[u64; 16]>;

fn load(id: u32) -> Value {
    LOADS.fetch_add(1, Ordering::Relaxed);
    Arc::new([u64::from(id); 16])
}

#[cached(ttl = "5m", prefix = "churn/api/v1/issues")]
async fn through_macro(id: u32) -> Value {
    load(id)
}

#[cached(ttl = "5m", prefix = "churn/api/v1/inline", detach = false)]
async fn through_macro_inline(id: u32) -> Value {
    load(id)
}

async fn by_key(cache: &Cache, id: u32) -> Value {
    let key = Key::new("churn/api/v1/get_or_load").part("id", &id);
    let ttl = Ttl::from_duration(TTL);
    cache.get_or_load(&key, ttl, || async { load(id) }).await
}

type Quick = quick_cache::sync::Cache<String, (Instant, Value), UnitWeighter, RandomState>;

async fn by_hand(cache: &Quick, id: u32) -> Value {
    let key = format!("churn/api/v1/issues:id={id}");
    loop {
        match cache.get_value_or_guard_async(key.as_str()).await {
            Ok((until, value)) if Instant::now() < until => return value,
            Ok(_) => drop(cache.remove(key.as_str())),
            Err(guard) => {
                let value = load(id);
                let _ = guard.insert((Instant::now() + TTL, Arc::clone(&value)));
                return value;
            }
        }
    }
}

type Moka = moka::future::Cache<String, Value, RandomState>;

async fn by_moka(cache: &Moka, id: u32) -> Value {
    let key = format!("churn/api/v1/issues:id={id}");
    let load = async { load(id) };
    cache.get_with_by_ref(key.as_str(), load).await
}

fn main() {
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    let requests = zipf(UNIVERSE, 1.0, REQUESTS);
    question(&mut criterion, "zipf", &requests, UNIVERSE as usize);
    if let Some(path) = std::env::var_os("DEXTER_TRACE") {
        let path = Path::new(&path);
        let requests = trace(path);
        let distinct = requests.iter().collect::<HashSet<_>>().len();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        question(&mut criterion, &name, &requests, distinct);
    }
    criterion.final_summary();
}

fn question(criterion: &mut Criterion, law: &str, requests: &[u32], universe: usize) {
    for percent in [1, 5, 10] {
        let capacity = (universe * percent / 100).max(1);
        for threads in [1, 2] {
            let name = format!("churn {law} {percent}% {threads}");
            let [cache, inline, keyed] = [(); 3].map(|()| {
                let cache = Cache::builder().memory_capacity(capacity);
                on_a_runtime(cache.build()).expect("a cache in memory")
            });
            let keyed = &keyed;
            let quick = Quick::with(
                capacity,
                capacity as u64,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            );
            let quick = &quick;
            let moka: Moka = moka::future::Cache::builder()
                .max_capacity(capacity as u64)
                .time_to_live(TTL)
                .build_with_hasher(RandomState::default());
            let moka = &moka;
            let mut turns = Turns::of(25, Duration::from_millis(30));
            let row = Row {
                group: &name,
                threads,
                requests,
            };
            row.measure(&mut turns, "dexter-cache", |ids| {
                cache.scope(async move {
                    for id in ids {
                        black_box(through_macro(id).await);
                    }
                })
            });
            row.measure(&mut turns, "dexter-cache inline", |ids| {
                inline.scope(async move {
                    for id in ids {
                        black_box(through_macro_inline(id).await);
                    }
                })
            });
            row.measure(
                &mut turns,
                "dexter-cache get_or_load",
                move |ids| async move {
                    for id in ids {
                        black_box(by_key(keyed, id).await);
                    }
                },
            );
            row.measure(&mut turns, "quick_cache", move |ids| async move {
                for id in ids {
                    black_box(by_hand(quick, id).await);
                }
            });
            row.measure(&mut turns, "moka", move |ids| async move {
                for id in ids {
                    black_box(by_moka(moka, id).await);
                }
            });
            turns.measure(criterion, &name);
        }
    }
}

/// The ids that one thread asks for, one after the other, round and round.
struct Ids<'a> {
    requests: &'a [u32],
    at: usize,
    left: usize,
}

impl Iterator for Ids<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        self.at += 1;
        if self.at >= self.requests.len() {
            self.at = 0;
        }
        Some(self.requests[self.at])
    }
}

#[derive(Clone, Copy)]
struct Row<'a> {
    group: &'a str,
    threads: usize,
    requests: &'a [u32],
}

impl<'a> Row<'a> {
    fn measure<F: Future<Output = ()>>(
        self,
        turns: &mut Turns<'a>,
        name: &'static str,
        calls: impl Fn(Ids<'a>) -> F + Sync + 'a,
    ) {
        let Row {
            group,
            threads,
            requests,
        } = self;
        let cursor = AtomicUsize::new(0);
        let mut ran = false;
        turns.row(name, move |count| {
            let run = |count: usize| {
                on_threads(threads, |_| {
                    let at = cursor.fetch_add(count, Ordering::Relaxed) % requests.len();
                    calls(Ids {
                        requests,
                        at,
                        left: count,
                    })
                })
            };
            // From empty, each request once.
            if !ran {
                ran = true;
                let before = LOADS.load(Ordering::Relaxed);
                let each = requests.len() / threads;
                run(each);
                let loads = LOADS.load(Ordering::Relaxed) - before;
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                let ratio = 1.0 - loads as f64 / (each * threads) as f64;
                note(group, name, "hit ratio", &format!("{ratio:.4}"));
            }
            run(usize::try_from(count).expect("a count fits"))
        });
    }
}

fn on_a_runtime<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
