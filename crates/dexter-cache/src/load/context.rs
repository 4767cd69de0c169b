//! What a load can see of the cache, and say to it; and which loads a task is running.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::flight::Shared;
use crate::kept;
use crate::key::Key;
use crate::tag::{TagId, TagSet};
use crate::ttl::Ttl;
use crate::wire::MAX_ETAG;

tokio::task_local! {
    static LOADING: Loading;
}

/// What a task is loading.
#[derive(Clone)]
struct Loading {
    /// The flights whose loads it is running, innermost first.
    chain: Option<Arc<Chain>>,
    /// Whether the innermost of them is the innermost load: one that goes round the cache has no context.
    in_context: bool,
}

/// A load, and those that it runs within.
pub(super) struct Chain {
    pub(super) flight: usize,
    /// Not the call: whoever keeps a context must not keep the cache.
    pub(super) key: Key,
    outer: Option<Arc<Chain>>,
    present: Option<Present>,
    wishes: Mutex<Wishes>,
}

impl Chain {
    pub(super) fn new(
        flight: usize,
        key: Key,
        outer: Option<Arc<Self>>,
        present: Option<Present>,
    ) -> Arc<Self> {
        Arc::new(Self {
            flight,
            key,
            outer,
            present,
            wishes: Mutex::default(),
        })
    }

    /// What was said, once the load has ended.
    pub(super) fn take_wishes(&self) -> Wishes {
        let mut wishes = std::mem::take(&mut *self.wishes());
        if wishes.not_modified && wishes.etag.is_none() {
            let present = self.present.as_ref();
            wishes.etag = present.and_then(|present| present.etag.clone());
        }
        wishes
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this task is loading.
    pub(super) fn current() -> Option<Arc<Self>> {
        LOADING.try_with(|loading| loading.chain.clone()).ok()?
    }
}

/// Whether a load that this task is running is one of these.
pub(super) fn is_loading(which: impl Fn(&Chain) -> bool) -> bool {
    LOADING
        .try_with(|loading| {
            std::iter::successors(loading.chain.as_ref(), |chain| chain.outer.as_ref())
                .any(|chain| which(chain))
        })
        .unwrap_or(false)
}

/// Runs a load that is one of a flight.
pub(super) fn with_context<F: Future>(
    chain: Arc<Chain>,
    load: F,
) -> impl Future<Output = F::Output> {
    let loading = Loading {
        chain: Some(chain),
        in_context: true,
    };
    LOADING.scope(loading, load)
}

/// Runs a load that is one of several flights at once. It has no context: which of them would it be?
pub(super) fn with_flights<F: Future>(
    flights: impl Iterator<Item = Arc<Chain>>,
    load: F,
) -> impl Future<Output = F::Output> {
    let chain = flights.fold(Chain::current(), |outer, chain| {
        let key = chain.key.clone();
        Some(Chain::new(chain.flight, key, outer, None))
    });
    let loading = Loading {
        chain,
        in_context: false,
    };
    LOADING.scope(loading, load)
}

/// Runs a load whose result is not stored: it has no context, and does not see another's.
pub(super) fn without_context<F: Future>(load: F) -> impl Future<Output = F::Output> {
    with_flights(std::iter::empty(), load)
}

/// What a cached function can see of the cache while it runs, and say to it: the value that is there, its `ETag`, how
/// long the new one lives, whether it is stored at all.
///
/// A service that asks another one can so ask *whether anything has changed*:
///
/// ```
/// use dexter_cache::{Cache, CacheContext, Key, Policy, Ttl};
/// # use std::time::Duration;
/// # struct Reply { status: u16, body: String, etag: String }
/// # async fn ask(_if_none_match: Option<String>) -> Reply { Reply { status: 200, body: "[]".into(), etag: "\"1\"".into() } }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::memory();
/// // There is something to compare with for an hour after the minute in which nobody asks.
/// let policy = Policy::new(Ttl::secs(60)).stale(Duration::from_secs(3600));
/// let key = Key::new("upstream");
/// let list = cache.get_or_load(&key, policy, || async {
///     let context = CacheContext::current().expect("a cached load has one");
///     let reply = ask(context.etag()).await;
///     if reply.status == 304
///         && let Some(present) = context.not_modified()
///     {
///         return present;
///     }
///     context.set_etag(reply.etag);
///     reply.body
/// });
/// assert_eq!(list.await, "[]");
/// # }
/// ```
///
/// It is the context of the innermost load of the task. A task that the load spawns has none.
#[derive(Clone)]
pub struct CacheContext(Arc<Chain>);

/// The value that is there while its successor is loaded.
pub(super) struct Present {
    pub(super) value: Shared,
    pub(super) etag: Option<Box<str>>,
}

/// What a load has said.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) ttl: Option<Ttl>,
    pub(super) etag: Option<Box<str>>,
    /// More labels for the value, beside those that its function names.
    pub(super) tags: TagSet,
    pub(super) do_not_store: bool,
    pub(super) not_modified: bool,
}

impl CacheContext {
    /// The context of the load that this task is running; `None` outside of a load, and in one that goes round the cache or
    /// whose result is not stored.
    pub fn current() -> Option<Self> {
        let loading = LOADING.try_with(Clone::clone).ok()?;
        loading
            .chain
            .filter(|_| loading.in_context)
            .map(CacheContext)
    }

    /// The value that is there: a stale one, or a fresh one that is refreshed. `None` where there is none, and where it is
    /// no `T`. In the type of the function `T` is what stands within `Ok`, `Some` and `Json`.
    pub fn stale<T: Clone + 'static>(&self) -> Option<T> {
        let present = self.0.present.as_ref()?;
        kept::open(&present.value)
    }

    /// What the load that brought the present value gave to [`set_etag`](Self::set_etag).
    pub fn etag(&self) -> Option<String> {
        let present = self.0.present.as_ref()?;
        present.etag.as_deref().map(String::from)
    }

    /// Keeps `etag` with the value, for the next load. One of more than 1 KiB is not kept.
    pub fn set_etag(&self, etag: impl Into<String>) {
        let etag = etag.into();
        self.0.wishes().etag = (etag.len() <= MAX_ETAG).then(|| etag.into());
    }

    /// How long the value lives, in place of what the call says. Zero stores nothing.
    pub fn set_ttl(&self, ttl: Ttl) {
        self.0.wishes().ttl = Some(ttl);
    }

    /// Puts a tag on the value, beside those that its function names: for what is known only by loading.
    ///
    /// If any tag was invalidated while the load ran, the value is returned and not stored: it may have been this one.
    pub fn tag(&self, tag: impl AsRef<str>) {
        self.0.wishes().tags.add(TagId::of(tag.as_ref()));
    }

    /// The value is returned and shared with all who wait for it, and not stored. What is there stays.
    pub fn do_not_store(&self) {
        self.0.wishes().do_not_store = true;
    }

    /// The present value, to be returned as the new one: its life begins anew, and it keeps its `ETag`. `None` where there
    /// is none, as for [`stale`](Self::stale).
    pub fn not_modified<T: Clone + 'static>(&self) -> Option<T> {
        let value = self.stale()?;
        self.0.wishes().not_modified = true;
        Some(value)
    }
}

impl fmt::Debug for CacheContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheContext")
            .field("key", &self.0.key)
            .field("present", &self.0.present.is_some())
            .finish_non_exhaustive()
    }
}
