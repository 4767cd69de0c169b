//! How often does a cache hit that holds 1, 5 or 10 % of what is asked for?
//!
//! A million requests of 100,000 keys, from empty: zipf 0.8, 1.0 and 1.2; zipf with scans; a hot set that moves; a loop over
//! 1.1 times what fits. With `DEXTER_TRACE=/path/to/trace.lis` a recorded trace too (see `churn`). Nothing is timed: a table is
//! printed, and the figures are noted for the report. An argument leaves out the laws whose name does not hold it.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use benches::{keep, moving, round_and_round, trace, with_scans, zipf};
use cached::ConcurrentCached as _;
use dexter_cache::{Cache, Key, Ttl};
use tokio::runtime::{Builder, Runtime};

const UNIVERSE: u32 = 100_000;
const REQUESTS: usize = 1_000_000;
const TTL: Duration = Duration::from_hours(1);

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("| law, size | dexter-cache | quick_cache | moka | LRU (cached) |");
    println!("|---|--:|--:|--:|--:|");
    let law = |name: &str, universe: usize, requests: &dyn Fn(usize) -> Vec<u32>| {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            for percent in [1, 5, 10] {
                let capacity = (universe * percent / 100).max(1);
                ratios(
                    &runtime,
                    &format!("{name} {percent}%"),
                    capacity,
                    &requests(capacity),
                );
            }
        }
    };
    let universe = UNIVERSE as usize;
    law("zipf 0.8", universe, &|_| zipf(UNIVERSE, 0.8, REQUESTS));
    law("zipf 1.0", universe, &|_| zipf(UNIVERSE, 1.0, REQUESTS));
    law("zipf 1.2", universe, &|_| zipf(UNIVERSE, 1.2, REQUESTS));
    law("scans", universe, &|_| with_scans(UNIVERSE, REQUESTS));
    law("moving", universe, &|_| moving(UNIVERSE, REQUESTS));
    law("loop", universe, &|capacity| {
        let keys = u32::try_from(capacity * 11 / 10).expect("a small number");
        round_and_round(keys, REQUESTS)
    });
    if let Some(path) = std::env::var_os("DEXTER_TRACE") {
        let path = Path::new(&path);
        let requests = trace(path);
        let distinct = requests.iter().collect::<HashSet<_>>().len();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        law(&name, distinct, &|_| requests.clone());
    }
}

fn ratios(runtime: &Runtime, law: &str, capacity: usize, requests: &[u32]) {
    let group = format!("hit_ratio {law}");
    let mut line = format!("| {law}");
    let mut row = |name: &str, loads: u64| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let ratio = 1.0 - loads as f64 / requests.len() as f64;
        keep(&group, name, "hit ratio", &format!("{ratio:.4}"));
        let _ = write!(line, " | {ratio:.4}");
    };
    row("dexter-cache", runtime.block_on(dexter(capacity, requests)));
    let quick = quick_cache::sync::Cache::<u32, u32>::new(capacity);
    row(
        "quick_cache",
        counted(requests, |id, load| {
            quick
                .get_or_insert_with(&id, || Ok::<_, ()>(load()))
                .is_ok()
        }),
    );
    let moka = moka::sync::Cache::builder().max_capacity(capacity as u64);
    let moka: moka::sync::Cache<u32, u32> = moka.time_to_live(TTL).build();
    row(
        "moka",
        counted(requests, |id, load| moka.get_with(id, load) == id),
    );
    let lru = cached::ShardedLruTtlCache::<u32, u32>::new(capacity, TTL);
    row(
        "LRU (cached)",
        counted(requests, |id, load| {
            let found = lru.cache_get(&id).is_ok_and(|value| value.is_some());
            found || lru.cache_set(id, load()).is_ok()
        }),
    );
    println!("{line} |");
}

async fn dexter(capacity: usize, requests: &[u32]) -> u64 {
    let cache = Cache::builder().memory_capacity(capacity).build().await;
    let cache = cache.expect("a cache in memory");
    let loads = Cell::new(0_u64);
    for id in requests {
        let key = Key::new("hit_ratio").part("id", id);
        let load = || {
            loads.set(loads.get() + 1);
            std::future::ready(*id)
        };
        let found = cache.get_or_load(&key, Ttl::secs(3600), load).await;
        assert_eq!(found, *id);
    }
    loads.get()
}

/// How many of the requests load.
fn counted(requests: &[u32], call: impl Fn(u32, &dyn Fn() -> u32) -> bool) -> u64 {
    let loads = Cell::new(0);
    for &id in requests {
        let load = || {
            loads.set(loads.get() + 1);
            id
        };
        assert!(call(id, &load), "an answer");
    }
    loads.get()
}
