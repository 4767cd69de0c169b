//! How many bytes does an entry take?
//!
//! Counted by the allocator: what is allocated after 100,000 entries were put into a cache with room for as many, less what was
//! before the cache was made, divided by the entries that are in it. Keys of 44 bytes, values `Arc<[u64; 14]>`: what every
//! cache must hold is 156 bytes. `+ deadline`: the engine has no TTL of its own, so that `(Instant, value)` is held.
//!
//! Nothing is timed: a table is printed, and the figures are noted for the report.

#![expect(
    unsafe_code,
    reason = "an allocator is unsafe to write; this one passes everything on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use benches::keep;
use cached::ConcurrentCached as _;
use dexter_cache::{Cache, Key, Ttl};
use foldhash::fast::RandomState;

const ENTRIES: usize = 100_000;
const TTL: Duration = Duration::from_hours(1);

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: each call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Value = Arc<[u64; 14]>;

fn text(id: usize) -> String {
    let text = format!("get_issue:path=/api/v1/issues/{:06}&query=", id % 1_000_000);
    debug_assert_eq!(text.len(), 44);
    text
}

fn value(id: usize) -> Value {
    Arc::new([id as u64; 14])
}

fn main() {
    println!("| | bytes an entry | entries held |");
    println!("|---|--:|--:|");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    row("dexter-cache", || {
        let cache = Cache::builder().memory_capacity(ENTRIES).build();
        let cache = runtime.block_on(cache).expect("a cache in memory");
        runtime.block_on(async {
            for id in 0..ENTRIES {
                let stored = cache
                    .set(&Key::raw(text(id)), &value(id), Ttl::secs(3600))
                    .await;
                stored.expect("stored in memory");
            }
            let mut held = 0;
            for id in 0..ENTRIES {
                let found = cache.get::<Value>(&Key::raw(text(id))).await;
                held += usize::from(found.is_ok_and(|value| value.is_some()));
            }
            (Box::new(cache.clone()) as Box<dyn Any>, held)
        })
    });
    row("HashMap", || {
        let mut map = std::collections::HashMap::with_hasher(RandomState::default());
        map.extend((0..ENTRIES).map(|id| (text(id), value(id))));
        let held = map.len();
        (Box::new(map) as Box<dyn Any>, held)
    });
    row("quick_cache", || {
        let cache = quick_cache::sync::Cache::<String, Value>::new(ENTRIES);
        (0..ENTRIES).for_each(|id| cache.insert(text(id), value(id)));
        let held = cache.len();
        (Box::new(cache) as Box<dyn Any>, held)
    });
    row("quick_cache + deadline", || {
        let cache = quick_cache::sync::Cache::<String, (Instant, Value)>::new(ENTRIES);
        let until = Instant::now() + TTL;
        (0..ENTRIES).for_each(|id| cache.insert(text(id), (until, value(id))));
        let held = cache.len();
        (Box::new(cache) as Box<dyn Any>, held)
    });
    row("moka", || {
        let cache = moka::sync::Cache::builder()
            .max_capacity(ENTRIES as u64)
            .time_to_live(TTL)
            .build_with_hasher(RandomState::default());
        (0..ENTRIES).for_each(|id| cache.insert(text(id), value(id)));
        cache.run_pending_tasks();
        let held = usize::try_from(cache.entry_count()).expect("a count");
        (Box::new(cache) as Box<dyn Any>, held)
    });
    row("cached", || {
        let cache = cached::ShardedLruTtlCache::<String, Value>::new(ENTRIES, TTL);
        for id in 0..ENTRIES {
            let _ = cache.cache_set(text(id), value(id));
        }
        let held = cache.len();
        (Box::new(cache) as Box<dyn Any>, held)
    });
    row("amalgam", || {
        let options = amalgam::EntryOptions::default().with_duration(TTL);
        let cache = amalgam::Cache::<Value>::builder().default_options(options);
        let cache = cache.try_build().expect("a cache in memory");
        runtime.block_on(async {
            for id in 0..ENTRIES {
                cache.set(text(id), value(id)).await.expect("stored");
            }
        });
        (Box::new(cache) as Box<dyn Any>, ENTRIES)
    });
}

/// Makes a cache, and says how many entries it holds.
fn row(name: &str, make: impl FnOnce() -> (Box<dyn Any>, usize)) {
    let before = HELD.load(Ordering::Relaxed);
    let (cache, held) = make();
    let bytes = HELD.load(Ordering::Relaxed) - before;
    drop(cache);
    let each = bytes / held.max(1);
    println!("| {name} | {each} | {held} |");
    keep(
        "memory per entry",
        name,
        "bytes an entry",
        &each.to_string(),
    );
    keep("memory per entry", name, "entries held", &held.to_string());
}
