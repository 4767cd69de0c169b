//! Counters, per prefix: cheap enough to be always on.
//!
//! A thread has a stripe of each row to itself for as long as it lives, on cache lines that no other writes to. So a counter
//! on the hit path is read and written as any variable is: an atomic addition would cost five times that. Threads beyond
//! their number share a few more, and add atomically. [`Stats`] adds the stripes up when somebody asks.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError, RwLock};

/// Prefixes beyond this many share the row of [`OTHER`]: prefixes come from code, so a program that has more of them
/// puts data where the prefix belongs.
const MAX_PREFIXES: usize = 512;
const OTHER: &str = "(other)";
/// Stripes that a thread has to itself, and behind them those that the others share.
const OWN_STRIPES: usize = 16;
const STRIPES: usize = 24;

/// What is counted.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub(crate) enum Event {
    Hit,
    Miss,
    Bypass,
    Load,
    LoadFailed,
    Coalesced,
    Stored,
    Fenced,
    TooLarge,
    Unusable,
    NotEncoded,
    FollowTimeout,
    Stale,
}

const EVENTS: usize = 13;

/// A small number for a prefix, the same for every cache of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefixId(usize);

struct Registry {
    ids: HashMap<Box<str>, PrefixId>,
    names: Vec<Box<str>>,
}

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(|| {
    let other: Box<str> = OTHER.into();
    RwLock::new(Registry {
        ids: HashMap::from([(other.clone(), PrefixId(0))]),
        names: vec![other],
    })
});

impl PrefixId {
    /// The number of `prefix`; the first 511 prefixes of a process get one of their own.
    pub(crate) fn of(prefix: &str) -> Self {
        if let Some(id) = REGISTRY
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .ids
            .get(prefix)
        {
            return *id;
        }
        let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = registry.ids.get(prefix) {
            return *id;
        }
        if registry.names.len() == MAX_PREFIXES {
            return Self(0);
        }
        let id = Self(registry.names.len());
        registry.names.push(prefix.into());
        registry.ids.insert(prefix.into(), id);
        id
    }
}

/// The counters of one cache.
pub(crate) struct Counters {
    rows: Box<[OnceLock<Box<[Stripe; STRIPES]>>]>,
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; EVENTS]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            rows: (0..MAX_PREFIXES).map(|_| OnceLock::new()).collect(),
        }
    }

    #[inline]
    pub(crate) fn add(&self, prefix: PrefixId, event: Event) {
        let row = self.rows[prefix.0].get_or_init(Box::default);
        let stripe = stripe();
        let counter = &row[stripe].0[event as usize];
        if stripe >= OWN_STRIPES {
            counter.fetch_add(1, Ordering::Relaxed);
        } else {
            let count = counter.load(Ordering::Relaxed);
            counter.store(count.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Adds everything up.
    pub(crate) fn read(&self) -> Stats {
        let names = &REGISTRY
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .names;
        let mut total = Counts::default();
        let mut prefixes = Vec::new();
        for (row, name) in self.rows.iter().zip(names) {
            let Some(stripes) = row.get() else { continue };
            let of = |event: Event| {
                stripes
                    .iter()
                    .map(|stripe| stripe.0[event as usize].load(Ordering::Relaxed))
                    .sum()
            };
            let counts = Counts {
                hits: of(Event::Hit),
                misses: of(Event::Miss),
                bypasses: of(Event::Bypass),
                loads: of(Event::Load),
                failed_loads: of(Event::LoadFailed),
                coalesced: of(Event::Coalesced),
                stored: of(Event::Stored),
                fenced: of(Event::Fenced),
                too_large: of(Event::TooLarge),
                unusable: of(Event::Unusable),
                not_encoded: of(Event::NotEncoded),
                follow_timeouts: of(Event::FollowTimeout),
                stale: of(Event::Stale),
            };
            total.add(&counts);
            prefixes.push((String::from(&**name), counts));
        }
        Stats {
            total,
            prefixes,
            entries: 0,
            evictions: 0,
            expirations: 0,
            too_heavy: 0,
            backend_operations: 0,
            backend_failures: 0,
            backend_timeouts: 0,
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

thread_local! {
    /// The stripe that this thread writes to. Without a destructor, so that reading it is a load.
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
    static OWN: Own = Own::take();
}

#[inline]
fn stripe() -> usize {
    STRIPE.get().unwrap_or_else(first_stripe)
}

#[cold]
fn first_stripe() -> usize {
    // Within the destructors of a thread there is nobody to give it back.
    let stripe = OWN
        .try_with(|own| own.0)
        .unwrap_or_else(|_| shared_stripe());
    STRIPE.set(Some(stripe));
    stripe
}

/// Stripes that no thread has. The lock also hands their counters over from one thread to the next.
static FREE: Mutex<[bool; OWN_STRIPES]> = Mutex::new([true; OWN_STRIPES]);

/// One of the stripes that threads share.
fn shared_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    OWN_STRIPES + NEXT.fetch_add(1, Ordering::Relaxed) % (STRIPES - OWN_STRIPES)
}

/// A stripe, for as long as a thread lives.
struct Own(usize);

impl Own {
    fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let stripe = free.iter().position(|free| *free);
        let stripe = stripe.unwrap_or_else(shared_stripe);
        if let Some(free) = free.get_mut(stripe) {
            *free = false;
        }
        Self(stripe)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Other destructors of this thread may still count.
        STRIPE.set(Some(shared_stripe()));
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = free.get_mut(self.0) {
            *free = true;
        }
    }
}

/// What happened since the cache was built; see [`Cache::stats`](crate::Cache::stats).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The sum over all prefixes.
    pub total: Counts,
    /// Per prefix, in the order of first use.
    pub prefixes: Vec<(String, Counts)>,
    /// Entries that this process holds in memory now.
    pub entries: u64,
    /// Entries that gave way to others because memory was full.
    pub evictions: u64,
    /// Entries given back from memory after their TTL.
    pub expirations: u64,
    /// Values that memory did not take because they weigh more than its bound.
    pub too_heavy: u64,
    /// Operations of the shared backend that were answered.
    pub backend_operations: u64,
    /// Those that ended in an error.
    pub backend_failures: u64,
    /// Those that were not answered in time.
    pub backend_timeouts: u64,
}

impl Stats {
    /// The counts of one prefix; zeros if it was never used.
    ///
    /// ```
    /// # let cache = dexter_cache::Cache::memory();
    /// let rate = cache.stats().prefix("list_issues").hit_rate();
    /// assert_eq!(rate, None, "never asked yet");
    /// ```
    pub fn prefix(&self, prefix: &str) -> Counts {
        self.prefixes
            .iter()
            .find(|(name, _)| name == prefix)
            .map_or_else(Counts::default, |(_, counts)| *counts)
    }
}

/// Counts of one prefix, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls answered with a stored value, from memory or from the backend.
    pub hits: u64,
    /// Calls that found nothing usable, whoever then loaded it.
    pub misses: u64,
    /// Calls that were told to go round the cache.
    pub bypasses: u64,
    /// Loads: runs of the function behind the cache, bypasses not counted.
    pub loads: u64,
    /// Loads that ended in an error or a panic.
    pub failed_loads: u64,
    /// Misses that were answered by somebody else's load.
    pub coalesced: u64,
    /// Values stored.
    pub stored: u64,
    /// Loaded values that were not stored because their key was invalidated meanwhile.
    pub fenced: u64,
    /// Values not stored because they are larger than the limit.
    pub too_large: u64,
    /// What lay under a key and could not be used: garbage, another type's or version's value.
    pub unusable: u64,
    /// Values that could not be encoded, and so were not stored.
    pub not_encoded: u64,
    /// Callers that waited too long for another one's load and ran their own.
    pub follow_timeouts: u64,
    /// Calls answered with a value past its TTL, because a load failed or took too long. They are misses, too.
    pub stale: u64,
}

impl Counts {
    /// Hits among all lookups, between 0 and 1; `None` before the first lookup. Bypasses do not count.
    pub fn hit_rate(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }

    fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.bypasses += other.bypasses;
        self.loads += other.loads;
        self.failed_loads += other.failed_loads;
        self.coalesced += other.coalesced;
        self.stored += other.stored;
        self.fenced += other.fenced;
        self.too_large += other.too_large;
        self.unusable += other.unusable;
        self.not_encoded += other.not_encoded;
        self.follow_timeouts += other.follow_timeouts;
        self.stale += other.stale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_many_threads_add_up() {
        let counters = Counters::new();
        let prefix = PrefixId::of("stats-test");
        // More of them than stripes, living at once and one after the other.
        for threads in [1, 4, 40, 1, 40] {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..1000).for_each(|_| counters.add(prefix, Event::Hit)));
                }
            });
        }
        let stats = counters.read();
        assert_eq!(stats.prefix("stats-test").hits, 86_000);
        assert_eq!(stats.total.hits, 86_000);
        assert_eq!(stats.prefix("stats-test").hit_rate(), Some(1.0));
    }

    #[test]
    fn what_a_thread_counts_as_it_ends_is_not_lost() {
        struct Late(&'static Counters);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.add(PrefixId::of("stats-late"), Event::Miss);
            }
        }
        thread_local! {
            static LATE: std::cell::OnceCell<Late> = const { std::cell::OnceCell::new() };
        }
        let counters: &'static Counters = Box::leak(Box::new(Counters::new()));
        for counted_before in [true, false] {
            let thread = std::thread::spawn(move || {
                LATE.with(|late| late.set(Late(counters)).ok());
                if counted_before {
                    counters.add(PrefixId::of("stats-late"), Event::Miss);
                }
            });
            thread.join().expect("the thread");
        }
        assert_eq!(counters.read().prefix("stats-late").misses, 3);
    }

    #[test]
    fn a_prefix_keeps_its_number() {
        assert_eq!(PrefixId::of("stats-a"), PrefixId::of("stats-a"));
        assert_ne!(PrefixId::of("stats-a"), PrefixId::of("stats-b"));
    }
}
