//! What one server has acknowledged while another one, which lacks it, was coming into use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dexter_cache::backend::{
    CacheBackend, Capabilities, KeyFilter, MemoryBackend, Pong, SetOutcome, When,
};
use dexter_cache::{Cache, Error, ErrorKind, KeyPattern, Reach};
use tokio::task::block_in_place;

use crate::{BOUND, LEASE, MINUTE, key, ready, soon, until, until_back, until_lost};

/// A server and its replica. The replica takes over just when the server has acknowledged a change that the replica
/// lacks, and whoever made that change hears of it when the replica is in use.
#[derive(Debug, Clone)]
struct Pair(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: MemoryBackend,
    replica: MemoryBackend,
    /// The next change does not reach the replica.
    lags: AtomicBool,
    promoted: AtomicBool,
    broken: AtomicBool,
    cache: OnceLock<Cache>,
}

impl Pair {
    async fn cache() -> (Self, Cache) {
        let pair = Self(Arc::new(Inner {
            server: MemoryBackend::new(100),
            replica: MemoryBackend::new(100),
            lags: AtomicBool::new(false),
            promoted: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            cache: OnceLock::new(),
        }));
        let builder = Cache::builder().backend(pair.clone()).namespace("pair");
        let cache = ready(builder.budget(BOUND).lease_ttl(LEASE)).await;
        assert!(pair.0.cache.set(cache.clone()).is_ok());
        (pair, cache)
    }

    fn lag(&self) {
        self.0.lags.store(true, Ordering::SeqCst);
    }

    fn in_use(&self) -> &MemoryBackend {
        if self.0.promoted.load(Ordering::SeqCst) {
            &self.0.replica
        } else {
            &self.0.server
        }
    }

    /// Stands still until the replica is in use, as a task may on a machine that has more to do.
    fn takes_over(&self) {
        self.0.promoted.store(true, Ordering::SeqCst);
        self.0.broken.store(true, Ordering::SeqCst);
        let cache = self.0.cache.get().expect("the cache is built");
        let until_taken_over = async {
            // Another caller finds out.
            let other = key("other", 1);
            soon("a look", cache.get::<u32>(&other)).await.unwrap();
            until_lost(cache).await;
            self.0.broken.store(false, Ordering::SeqCst);
            until_back(cache).await;
        };
        let runtime = tokio::runtime::Handle::current();
        block_in_place(|| runtime.block_on(until_taken_over));
    }

    fn works(&self) -> Result<(), Error> {
        if self.0.broken.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "taken over"));
        }
        Ok(())
    }
}

#[async_trait]
impl CacheBackend for Pair {
    fn name(&self) -> &'static str {
        "pair"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.server.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.works()?;
        self.in_use().get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        self.works()?;
        self.in_use().get_many(keys).await
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        self.works()?;
        let outcome = self.in_use().set(key, value.clone(), ttl, when).await?;
        // Epochs are begun and leases are taken on a condition.
        if when == When::Always && self.0.lags.swap(false, Ordering::SeqCst) {
            self.takes_over();
        } else if outcome == SetOutcome::Stored {
            self.0.replica.set(key, value, ttl, When::Always).await?;
        }
        Ok(outcome)
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        self.works()?;
        let removed = self.in_use().remove(keys).await?;
        if self.0.lags.swap(false, Ordering::SeqCst) {
            self.takes_over();
        } else {
            self.0.replica.remove(keys).await?;
        }
        Ok(removed)
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        self.works()?;
        self.in_use().remove_matching(pattern, filter).await
    }

    async fn ping(&self) -> Result<Pong, Error> {
        self.works()?;
        let mut pong = self.in_use().ping().await?;
        let run_id = if self.0.promoted.load(Ordering::SeqCst) {
            "replica"
        } else {
            "server"
        };
        pong.run_id = Some(run_id.to_owned());
        pong.uptime = Some(Duration::from_secs(86_400));
        Ok(pong)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_is_heard_of_too_late_is_made_again_on_the_server_in_use() {
    let (pair, cache) = Pair::cache().await;
    let key = key("taken_over", 1);
    // Not by a `set`, which is remembered as well.
    cache.get_or_load(&key, MINUTE, || async { 1_u32 }).await;
    until("it is stored", || cache.stats().total.stored == 1).await;
    pair.lag();
    let removed = soon("a removal", cache.remove(&key)).await.unwrap();
    assert_eq!(removed.reach, Reach::Applied);
    assert_eq!(cache.get::<u32>(&key).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_set_replaced_that_is_heard_of_too_late_is_removed_from_the_server_in_use() {
    let (pair, cache) = Pair::cache().await;
    let key = key("taken_over", 1);
    // Not by a `set`, which is remembered as well.
    cache.get_or_load(&key, MINUTE, || async { 1_u32 }).await;
    until("it is stored", || cache.stats().total.stored == 1).await;
    pair.lag();
    soon("a set", cache.set(&key, &2_u32, MINUTE))
        .await
        .unwrap();
    assert_ne!(cache.get::<u32>(&key).await.unwrap(), Some(1));
}
