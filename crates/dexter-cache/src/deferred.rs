//! [`Cache::deferred`]: removals that wait for a transaction to end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::Cache;
use crate::flight::Fence;
use crate::global::Scope;
use crate::target::Target;

/// A transaction under way, and what was removed in it on one cache.
///
/// Tasks that were spawned in it may hold it longer than it lasts; it is closed when it has ended.
pub(crate) struct Deferral {
    cache: Cache,
    /// The transaction around this one, on this cache or on another.
    outer: Option<Arc<Deferral>>,
    /// Each target under its fence. `None` when the transaction has ended.
    held: Mutex<Option<Held>>,
}

type Held = HashMap<Target, Fence>;

impl Cache {
    /// Runs `transaction` and holds back what is removed in it until it ends: the removals are sent if it returns `Ok`,
    /// and dropped with an `Err`.
    ///
    /// A removal *before* the commit is refilled with the old row by the next reader. One *after* it is forgotten by the
    /// caller that is cut off in between. This does neither:
    ///
    /// ```
    /// # use dexter_cache::{Cache, cached, invalidates};
    /// # struct Database;
    /// # struct Transaction;
    /// # impl Database { async fn begin(&self) -> Result<Transaction, String> { Ok(Transaction) } }
    /// # impl Transaction {
    /// #     async fn execute(&mut self, _: &str, _: u64) -> Result<(), String> { Ok(()) }
    /// #     async fn commit(self) -> Result<(), String> { Ok(()) }
    /// # }
    /// #[cached(ttl = "1m", prefix = "get_account")]
    /// async fn get_account(id: u64) -> Result<u64, String> {
    ///     Ok(id) // … read from the database …
    /// }
    ///
    /// #[invalidates(get_account(id))]
    /// async fn add(tx: &mut Transaction, id: u64) -> Result<(), String> {
    ///     tx.execute("update accounts set balance = balance + 1 where id = ?", id).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (cache, database) = (Cache::memory(), Database);
    /// # cache.install()?;
    /// get_account(7).await?;
    /// cache.deferred(async {
    ///     let mut tx = database.begin().await?;
    ///     add(&mut tx, 7).await?;
    ///     add(&mut tx, 8).await?;
    ///     tx.commit().await // both accounts are removed when this has returned `Ok`
    /// }).await?;
    /// assert!(get_account::peek(7).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Held back is what this task removes from *this* cache, by whatever way: [`remove`](Self::remove),
    /// [`remove_many`](Self::remove_many), [`invalidate`](Self::invalidate), [`clear`](Self::clear), companions, and
    /// writers under [`#[invalidates]`](macro@crate::invalidates). The call returns at once with
    /// [`Reach::Deferred`](crate::Reach::Deferred). A [`set`](Self::set) is held back as the removal of its key: its value
    /// may be undone yet. A task that is spawned in the transaction takes part with
    /// [`in_cache_scope`](crate::InCacheScope::in_cache_scope); what it removes after the transaction has ended is removed
    /// at once.
    ///
    /// # What is guaranteed
    ///
    /// From a removal in the transaction on, until the transaction has ended and the removals have reached the backend,
    /// a fence stands over what was removed, in this process:
    ///
    /// * No load of it is stored, whenever it began. No caller joins a load that began before the removal.
    /// * No caller is answered from the cache: others load for themselves, and see what the database shows them. This
    ///   task's own calls join no other's load, so that they see what its transaction has written.
    ///
    /// Other processes go on with the old value, which is the true one until the commit. After it they follow as after
    /// any removal: see [`Invalidated`](crate::Invalidated).
    ///
    /// With `Err` nothing is sent, and what the backend holds is in use again. Memory has let go of the keys, and loads
    /// them anew.
    ///
    /// So an `Err` has to mean that nothing was committed. Where the commit itself fails and leaves that open, as a
    /// connection does that breaks off before the answer, remove the keys by hand when `deferred` has returned.
    ///
    /// What this task *loads* in a transaction before it removes it is stored as ever. So hand a cached function what it
    /// reads the committed rows with, not the transaction.
    ///
    /// # Errors
    ///
    /// Those of `transaction`, and no others. A backend that refuses the removals is one line of log.
    ///
    /// # Panics
    ///
    /// Only where `transaction` does.
    ///
    /// # Cancel safety
    ///
    /// Where `transaction` is dropped or panics after its first poll, nobody knows whether it was committed: the removals
    /// are sent, by a task that [`close`](Self::close) waits for. Once it has returned `Ok`, they are sent whether the
    /// caller is still there or not.
    ///
    /// # Nesting
    ///
    /// A `deferred` in another one of the same cache hands what it has collected to the outer one when it ends with `Ok`,
    /// and drops it with `Err`.
    ///
    /// # Cost
    ///
    /// One removal of all targets together, waited for as long as a call may
    /// ([`budget`](crate::CacheBuilder::budget)). While the transaction runs, each call for one of the targets loads; each
    /// *pattern* is tried on every look-up in memory, so keep the transaction short.
    pub fn deferred<T, E, F>(
        &self,
        transaction: F,
    ) -> impl Future<Output = Result<T, E>> + use<T, E, F>
    where
        F: Future<Output = Result<T, E>>,
    {
        let cache = self.clone();
        async move {
            let around = Scope::current();
            let open = Open(Arc::new(Deferral {
                cache: cache.clone(),
                outer: around.deferral.clone(),
                held: Mutex::new(Some(Held::new())),
            }));
            let scope = Scope {
                deferral: Some(Arc::clone(&open.0)),
                ..around
            };
            // Nothing is awaited inside of the `match`: an error need not be `Send`.
            let value = match scope.enter(transaction).await {
                Ok(value) => value,
                Err(error) => {
                    drop(open.0.close());
                    return Err(error);
                }
            };
            // The fences are lowered after the removal has raised its own.
            let (targets, _fences): (Vec<_>, Vec<_>) = open.0.close().into_iter().unzip();
            cache.invalidate_within_budget(targets).await;
            Ok(value)
        }
    }
}

impl Cache {
    /// Whether this task is in a transaction that holds removals on this cache back.
    pub(crate) fn is_deferring(&self) -> bool {
        Scope::with(|scope| {
            scope
                .and_then(|scope| scope.deferral.as_ref())
                .is_some_and(|deferral| deferral.is_open_on(self))
        })
    }
}

/// A transaction that has not ended. Dropped as such it may have been committed or not, so its removals are sent.
struct Open(Arc<Deferral>);

impl Drop for Open {
    fn drop(&mut self) {
        let (targets, _fences): (Vec<_>, Vec<_>) = self.0.close().into_iter().unzip();
        drop(self.0.cache.invalidate_detached(targets));
    }
}

impl Deferral {
    /// Hands `targets` to the transaction that this task is in, if it is in one on `cache`; else gives them back.
    pub(crate) fn collect(cache: &Cache, mut targets: Vec<Target>) -> Result<(), Vec<Target>> {
        let innermost = Scope::with(|scope| scope.and_then(|scope| scope.deferral.clone()));
        let mut next = innermost.as_ref();
        while let Some(deferral) = next {
            targets = match deferral.take_in(cache, targets) {
                Ok(()) => return Ok(()),
                Err(targets) => targets,
            };
            next = deferral.outer.as_ref();
        }
        Err(targets)
    }

    /// Whether this transaction, or one around it, is on `cache` and has not ended.
    pub(crate) fn is_open_on(&self, cache: &Cache) -> bool {
        (self.is_on(cache) && self.held().is_some())
            || self
                .outer
                .as_ref()
                .is_some_and(|outer| outer.is_open_on(cache))
    }

    fn is_on(&self, cache: &Cache) -> bool {
        Arc::ptr_eq(&self.cache.0, &cache.0)
    }

    fn take_in(&self, cache: &Cache, targets: Vec<Target>) -> Result<(), Vec<Target>> {
        if !self.is_on(cache) {
            return Err(targets);
        }
        // Once more for what is held already: another task may have set the key meanwhile. Before the lock: what memory lets
        // go of is dropped, which is code of the user.
        let fences: Vec<Fence> = targets.iter().map(|target| cache.fence(target)).collect();
        let mut held = self.held();
        let Some(held) = &mut *held else {
            return Err(targets);
        };
        for (target, fence) in targets.into_iter().zip(fences) {
            held.entry(target).or_insert(fence);
        }
        Ok(())
    }

    /// Ends the transaction: what it removes from now on is removed at once.
    fn close(&self) -> Held {
        self.held().take().unwrap_or_default()
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
