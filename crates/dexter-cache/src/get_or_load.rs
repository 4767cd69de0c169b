//! Reading through the cache by hand: the same path as an annotated function.

use std::future::Future;

use crate::cache::Cache;
use crate::call::{self, Entered, Traits};
use crate::error::Error;
use crate::global::Scope;
use crate::key::Key;
use crate::load::{Detach, Inline};
use crate::policy::Policy;
use crate::shape::{CacheValue, Plain, ResultOf, Serde, Shape};
use crate::share::{Alone, Cloned, Late, Share, Sharing};
use crate::stats::PrefixId;

impl Cache {
    /// The value under `key`, or what `load` brings, stored as `policy` says: a [`Ttl`](crate::Ttl) is one.
    ///
    /// One caller loads; others of the same key and type wait for it and share what it brings.
    ///
    /// # Panics
    ///
    /// Only where `load` does. Followers then load for themselves.
    ///
    /// # Cancel safety
    ///
    /// A caller that is dropped while it loads hands over to one that waits.
    ///
    /// # Cost
    ///
    /// A hit in memory: a hash, a look-up and a clone of the value. A hit in the backend: one round trip. A miss there:
    /// three at most, the last one behind the answer.
    pub async fn get_or_load<T, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> T
    where
        T: CacheValue,
        F: Future<Output = T>,
    {
        let shape = Plain::<T, Serde>::new();
        let miss = match self.enter(key, shape) {
            Entered::Hit(value) | Entered::Due(value, _) => return value,
            Entered::Miss(miss) => miss,
        };
        Box::pin(Inline.run(miss, shape, Alone, policy.into(), load)).await
    }

    /// As [`get_or_load`](Self::get_or_load), with a load that may fail. An error is never stored.
    ///
    /// Callers that wait for a load which fails load for themselves, a few at once. Where the error can be cloned,
    /// [`try_get_or_load_shared`](Self::try_get_or_load_shared) hands it to all of them instead.
    ///
    /// # Errors
    ///
    /// Those of `load`, and no others.
    ///
    /// # Cancel safety
    ///
    /// A caller that is dropped while it loads hands over to one that waits.
    pub async fn try_get_or_load<T, E, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        F: Future<Output = Result<T, E>>,
    {
        let shape = ResultOf::<T, E, Serde>::new();
        let miss = match self.enter(key, shape) {
            Entered::Hit(value) | Entered::Due(value, _) => return value,
            Entered::Miss(miss) => miss,
        };
        Box::pin(Inline.run(miss, shape, Alone, policy.into(), load)).await
    }

    /// As [`try_get_or_load`](Self::try_get_or_load), where all who wait for a load share its error, too.
    ///
    /// # Errors
    ///
    /// Those of `load`, this caller's or the one it waited for.
    ///
    /// # Cancel safety
    ///
    /// A caller that is dropped while it loads hands over to one that waits.
    pub async fn try_get_or_load_shared<T, E, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let shape = ResultOf::<T, E, Serde>::new();
        let miss = match self.enter(key, shape) {
            Entered::Hit(value) | Entered::Due(value, _) => return value,
            Entered::Miss(miss) => miss,
        };
        Box::pin(Inline.run(miss, shape, Cloned, policy.into(), load)).await
    }

    /// As [`get_or_load`](Self::get_or_load), with a load that runs in a task of its own: a caller that is dropped takes
    /// nothing with it, and all of the [`Policy`] acts but `hard_timeout`, which needs an error to say it with.
    ///
    /// The load carries the cache's scope and the `tracing` span, and no other task-local. `load` itself runs here, and only
    /// where it is needed.
    ///
    /// # Panics
    ///
    /// Where `load` does, or what it returns; or when the runtime ends meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The load goes on.
    ///
    /// # Cost
    ///
    /// As for [`get_or_load`](Self::get_or_load), and a task for each load.
    pub async fn get_or_load_detached<T, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> T
    where
        T: CacheValue,
        F: Future<Output = T> + Send + 'static,
    {
        self.run_detached(key, policy.into(), Plain::<T, Serde>::new(), Alone, load)
            .await
    }

    /// As [`get_or_load_detached`](Self::get_or_load_detached), with a load that may fail, and that may take too long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dexter_cache::{Cache, Error, ErrorKind, Key, Policy, Ttl};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let cache = Cache::memory();
    /// let policy = Policy::new(Ttl::secs(60)).hard_timeout(Duration::from_millis(5));
    /// let never = || async { std::future::pending::<Result<u32, Error>>().await };
    /// let late = cache.try_get_or_load_detached(&Key::new("late"), policy, never).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::LoadTimeout);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `load`; and, where the policy has a hard timeout, [`ErrorKind::LoadTimeout`](crate::ErrorKind::LoadTimeout).
    pub async fn try_get_or_load_detached<T, E, F>(
        &self,
        key: &Key,
        policy: impl Into<Policy>,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: CacheValue,
        E: From<Error> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let shape = ResultOf::<T, E, Serde>::new();
        self.run_detached(key, policy.into(), shape, Sharing(Alone, Alone, Late), load)
            .await
    }

    async fn run_detached<R, S, H, F>(
        &self,
        key: &Key,
        policy: Policy,
        shape: S,
        share: H,
        load: impl FnOnce() -> F,
    ) -> R
    where
        R: Send + 'static,
        S: Shape<R> + 'static,
        H: Share<R>,
        F: Future<Output = R> + Send + 'static,
    {
        let prefix = PrefixId::of(key.prefix());
        let traits = Traits::default();
        let entered = Scope::with(|scope| {
            call::look::<R, S, true>(self, scope, prefix, traits, shape, || key)
        })
        .entered(prefix, traits, key);
        let miss = match entered {
            Entered::Hit(value) => return value,
            Entered::Due(value, miss) => {
                Detach.refresh(miss, shape, share, policy, load);
                return value;
            }
            Entered::Miss(miss) => miss,
        };
        Box::pin(Detach.run(miss, shape, share, policy, load)).await
    }

    fn enter<R, S: Shape<R>>(&self, key: &Key, shape: S) -> Entered<R, S::Value> {
        let prefix = PrefixId::of(key.prefix());
        let traits = Traits::default();
        Scope::with(|scope| call::look::<R, S, false>(self, scope, prefix, traits, shape, || key))
            .entered(prefix, traits, key)
    }
}
