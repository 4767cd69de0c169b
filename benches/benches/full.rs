//! What does an insertion into a full cache cost as the capacity grows, and what do readers notice of insertions?
//!
//! `full insert N`: a key that is not there, in a cache with room for N entries that is full; 16 bytes of value. dexter-cache is
//! asked as anybody would (`Cache::set`, readable keys, fences, statistics), `quick_cache`, `moka` and `cached` by their own
//! `insert`. `amalgam` sorts all entries for each insertion beyond its capacity and is left out at 100,000.
//!
//! `full readers`: one look-up on one thread, alone and beside another thread that inserts 100 times a second into the same full
//! cache of 100,000.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benches::{Turns, fence};
use cached::ConcurrentCached as _;
use criterion::Criterion;
use dexter_cache::{Cache, Key, Ttl};
use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;

const TTL: Duration = Duration::from_hours(1);

type Value = Arc<[u64; 2]>;
type Quick = quick_cache::sync::Cache<String, (Instant, Value), UnitWeighter, RandomState>;

fn text(id: u64) -> String {
    format!("get_issue:path=/api/v1/issues/{id:012}")
}

/// What all of them can do.
trait Engine: Send + Sync {
    fn insert(&self, id: u64);
    fn hits(&self, id: u64) -> bool;
}

impl Engine for Cache {
    fn insert(&self, id: u64) {
        let value: Value = Arc::new([id; 2]);
        let stored = now(self.set(&Key::raw(text(id)), &value, Ttl::secs(3600)));
        stored.expect("stored in memory");
    }

    fn hits(&self, id: u64) -> bool {
        now(self.get::<Value>(&Key::raw(text(id)))).is_ok_and(|value| value.is_some())
    }
}

impl Engine for Quick {
    fn insert(&self, id: u64) {
        self.insert(text(id), (Instant::now() + TTL, Arc::new([id; 2])));
    }

    fn hits(&self, id: u64) -> bool {
        self.get(&text(id))
            .is_some_and(|(until, _)| Instant::now() < until)
    }
}

impl Engine for moka::sync::Cache<String, Value, RandomState> {
    fn insert(&self, id: u64) {
        self.insert(text(id), Arc::new([id; 2]));
    }

    fn hits(&self, id: u64) -> bool {
        self.get(&text(id)).is_some()
    }
}

impl Engine for cached::ShardedLruTtlCache<String, Value> {
    fn insert(&self, id: u64) {
        let _ = self.cache_set(text(id), Arc::new([id; 2]));
    }

    fn hits(&self, id: u64) -> bool {
        self.cache_get(&text(id)).is_ok_and(|value| value.is_some())
    }
}

/// What amalgam's synchronous half offers.
impl Engine for amalgam::BlockingCache<Value> {
    fn insert(&self, id: u64) {
        self.set(text(id), Arc::new([id; 2]))
            .execute()
            .expect("stored in memory");
    }

    fn hits(&self, id: u64) -> bool {
        let found = self.try_get(text(id)).execute();
        found.is_ok_and(|value| value.is_some())
    }
}

fn engines(capacity: usize) -> Vec<(&'static str, Arc<dyn Engine>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let cache = Cache::builder().memory_capacity(capacity).build();
    let cache = runtime.expect("a runtime").block_on(cache);
    let quick = Quick::with(
        capacity,
        capacity as u64,
        UnitWeighter,
        RandomState::default(),
        DefaultLifecycle::default(),
    );
    let moka = moka::sync::Cache::builder()
        .max_capacity(capacity as u64)
        .time_to_live(TTL)
        .build_with_hasher(RandomState::default());
    let mut engines: Vec<(&'static str, Arc<dyn Engine>)> = vec![
        ("dexter-cache", Arc::new(cache.expect("a cache in memory"))),
        ("quick_cache", Arc::new(quick)),
        ("moka", Arc::new(moka)),
        (
            "cached",
            Arc::new(cached::ShardedLruTtlCache::<String, Value>::new(
                capacity, TTL,
            )),
        ),
    ];
    if capacity < 100_000 {
        let amalgam = amalgam::Cache::builder().max_capacity(capacity as u64);
        let amalgam = amalgam::BlockingCache::from_builder(amalgam);
        engines.push(("amalgam", Arc::new(amalgam.expect("a cache in memory"))));
    }
    for (_, engine) in &engines {
        (0..capacity as u64 * 11 / 10).for_each(|id| engine.insert(id));
    }
    engines
}

fn main() {
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    for capacity in [10_000, 100_000] {
        let name = format!("full insert {capacity}");
        let mut turns = Turns::of(40, Duration::from_millis(10));
        // Made when they are asked for: a filter may leave this group out.
        let mut made: Option<Vec<(&'static str, Arc<dyn Engine>)>> = None;
        let made = std::rc::Rc::new(std::cell::RefCell::new(made.take()));
        let mut names = vec!["dexter-cache", "quick_cache", "moka", "cached"];
        if capacity < 100_000 {
            names.push("amalgam");
        }
        for (at, row) in names.into_iter().enumerate() {
            let made = std::rc::Rc::clone(&made);
            let mut next = 10_000_000_u64;
            turns.row(row, move |count| {
                let mut made = made.borrow_mut();
                let (_, engine) = &made.get_or_insert_with(|| engines(capacity))[at];
                let begun = Instant::now();
                for id in next..next + count {
                    engine.insert(black_box(id));
                }
                next += count;
                begun.elapsed()
            });
        }
        turns.measure(&mut criterion, &name);
    }
    readers(&mut criterion);
    criterion.final_summary();
}

/// Alone, and beside somebody who inserts.
fn readers(criterion: &mut Criterion) {
    const CAPACITY: usize = 100_000;
    /// Asked for all the time, so that no engine evicts them.
    const HOT: u64 = 256;
    let mut turns = Turns::of(40, Duration::from_millis(25));
    let made = std::rc::Rc::new(std::cell::OnceCell::new());
    for (at, name) in ["dexter-cache", "quick_cache", "moka", "cached"]
        .into_iter()
        .enumerate()
    {
        for beside in [false, true] {
            let made = std::rc::Rc::clone(&made);
            let row = if beside {
                format!("{name} beside")
            } else {
                name.to_owned()
            };
            let mut missed = 0_u64;
            turns.row(&row, move |count| {
                let (_, engine) = &made.get_or_init(|| engines(CAPACITY))[at];
                let writer = beside.then(|| Writer::start(Arc::clone(engine)));
                for id in 0..HOT {
                    if !engine.hits(id) {
                        engine.insert(id);
                    }
                }
                let begun = Instant::now();
                for call in 0..count {
                    fence();
                    missed += u64::from(!engine.hits(black_box(call % HOT)));
                }
                let took = begun.elapsed();
                drop(writer);
                assert!(missed < HOT, "look-ups miss: {missed}");
                took
            });
        }
    }
    turns.measure(criterion, "full readers");
}

/// Inserts 100 times a second until it is dropped.
struct Writer {
    goes_on: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    fn start(engine: Arc<dyn Engine>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(20_000_000);
        let goes_on = Arc::new(AtomicBool::new(true));
        let running = Arc::clone(&goes_on);
        let thread = thread::spawn(move || {
            while running.load(Ordering::Relaxed) {
                engine.insert(NEXT.fetch_add(1, Ordering::Relaxed));
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self {
            goes_on,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()), "it inserts");
    }
}

/// In memory a call never waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => unreachable!("nothing to wait for in memory"),
    }
}
