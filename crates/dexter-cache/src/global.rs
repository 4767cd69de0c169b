//! Which cache a bare `#[cached]` uses, and how: the installed one, and the scope of a task.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::task::futures::TaskLocalFuture;

use crate::cache::Cache;
use crate::deferred::Deferral;
use crate::error::{Error, ErrorKind};
use crate::record::CallRecord;
use crate::telemetry::TARGET;

static INSTALLED: OnceLock<Cache> = OnceLock::new();

tokio::task_local! {
    static SCOPE: Scope;
}

/// What a call does with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    #[default]
    Normal,
    /// Not read, but written.
    Refresh,
    /// Neither read nor written.
    Bypass,
    /// As normal, but not counted as a look-up, and not bypassed by an outer scope.
    Warm,
}

/// What calls under a scope find.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub(crate) cache: Option<Cache>,
    pub(crate) mode: Mode,
    pub(crate) record: Option<Arc<CallRecord>>,
    /// The transaction that holds removals back.
    pub(crate) deferral: Option<Arc<Deferral>>,
}

/// A future under a scope.
pub(crate) type Scoped<F> = TaskLocalFuture<Scope, F>;

impl Scope {
    /// The scope of the running task; an empty one outside of any.
    pub(crate) fn current() -> Self {
        SCOPE.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `future` under this scope.
    pub(crate) fn enter<F: Future>(self, future: F) -> Scoped<F> {
        SCOPE.scope(self, future)
    }

    /// Shows the scope to `look`, without cloning it.
    ///
    /// `look` is called once.
    #[inline]
    pub(crate) fn with<R>(mut look: impl FnMut(Option<&Self>) -> R) -> R {
        match SCOPE.try_with(|scope| look(Some(scope))) {
            Ok(result) => result,
            // There is no scope.
            Err(_) => look(None),
        }
    }
}

/// Makes `cache` the one that calls outside of any scope use.
pub(crate) fn install(cache: Cache) -> Result<(), Error> {
    INSTALLED.set(cache).map_err(|_| {
        Error::new(
            ErrorKind::AlreadyInstalled,
            "a cache is already installed in this process: install once at start-up, and give tests a cache of \
             their own with `cache.scope(future)`",
        )
    })
}

#[inline]
pub(crate) fn installed() -> Option<&'static Cache> {
    INSTALLED.get()
}

/// Says once that annotated functions run uncached.
#[cold]
pub(crate) fn warn_no_cache(function: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            target: TARGET,
            function,
            "no cache is installed: cached functions simply run; call `cache.install()` at start-up"
        );
    }
}

/// Runs `future` with its annotated calls reporting to `record`; with `bypass` they go round the cache.
#[cfg(feature = "http")]
pub(crate) fn with_record<F: Future>(
    record: Arc<CallRecord>,
    bypass: bool,
    future: F,
) -> Scoped<F> {
    let mut scope = Scope::current();
    if bypass {
        scope.mode = Mode::Bypass;
    }
    scope.record = Some(record);
    scope.enter(future)
}

/// Runs `call` with every cached function in it going round the cache: it is neither read nor written, and no load
/// is shared.
///
/// It holds for all calls made by this task while `call` runs, nested ones included, and for none of another task.
///
/// ```
/// # use dexter_cache::{Cache, Key, Ttl, bypass};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::memory();
/// let key = Key::new("answer");
/// let load = || cache.get_or_load(&key, Ttl::secs(60), || async { 42 });
/// assert_eq!(bypass(load()).await, 42);
/// assert_eq!(cache.stats().total.bypasses, 1);
/// # }
/// ```
pub fn bypass<F: Future>(call: F) -> impl Future<Output = F::Output> {
    with_mode(Mode::Bypass, call)
}

/// Runs `call` with every cached function in it loading anew: what is stored is not read, but replaced.
///
/// A refresh never joins a load that began before it, and such a load is not stored any more. Where the load fails,
/// what was stored stays.
///
/// ```
/// # use dexter_cache::{Cache, Key, Ttl, refresh};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dexter_cache::Error> {
/// let cache = Cache::memory();
/// let key = Key::new("answer");
/// cache.set(&key, &41, Ttl::secs(60)).await?;
/// assert_eq!(refresh(cache.get_or_load(&key, Ttl::secs(60), || async { 42 })).await, 42);
/// assert_eq!(cache.get(&key).await?, Some(42));
/// # Ok(())
/// # }
/// ```
pub fn refresh<F: Future>(call: F) -> impl Future<Output = F::Output> {
    with_mode(Mode::Refresh, call)
}

fn with_mode<F: Future>(mode: Mode, call: F) -> Scoped<F> {
    let mut scope = Scope::current();
    scope.mode = mode;
    scope.enter(call)
}

/// Takes the scope of the running task along into another one.
pub trait InCacheScope: Future + Sized {
    /// This future under the scope of the task that calls this: the cache of [`Cache::scope`], a bypass or a refresh.
    ///
    /// A spawned task leaves the scope it was spawned from; this takes it along.
    ///
    /// ```
    /// # use dexter_cache::{Cache, InCacheScope, Key, Ttl};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # async fn cached_work() {}
    /// let cache = Cache::memory();
    /// cache.scope(async {
    ///     tokio::spawn(cached_work().in_cache_scope()).await.unwrap();
    /// }).await;
    /// # }
    /// ```
    fn in_cache_scope(self) -> impl Future<Output = Self::Output>;
}

impl<F: Future> InCacheScope for F {
    fn in_cache_scope(self) -> impl Future<Output = F::Output> {
        Scope::current().enter(self)
    }
}
