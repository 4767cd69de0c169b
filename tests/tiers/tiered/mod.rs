//! L1 in front of Redis: what it saves, and that it never answers with what is no longer so.

mod announcements;
mod breaks;
mod coherence;
mod options;
mod race;
mod unwatched;

use dexter_cache::{Cache, CacheBuilder, CacheMode, Key, Ttl};
use support::RedisServer;
use tokio::task::block_in_place;

use crate::{BOUND, patient_builder, ready};

pub(crate) const NAMESPACE: &str = "tiered";

fn builder(url: &str) -> CacheBuilder {
    patient_builder(url)
        .namespace(NAMESPACE)
        .tiered()
        // What a busy machine delays is not to be lost for being old.
        .fallback_ttl(BOUND)
}

/// A cache that is told of changes.
pub(crate) async fn tiered(server: &RedisServer) -> Cache {
    let cache = ready(builder(&server.url())).await;
    let health = cache.health();
    assert_eq!(health.mode, CacheMode::Tiered);
    assert!(health.watching);
    cache
}

/// How many reads the server has been asked for, by anybody.
fn reads(server: &RedisServer) -> u64 {
    let stats = block_in_place(|| server.cli(&["INFO", "commandstats"]));
    let calls = |name: &str| {
        stats
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split(',').next()?.parse().ok())
            .unwrap_or(0)
    };
    calls("cmdstat_get:calls=") + calls("cmdstat_mget:calls=")
}

/// Reads until an answer comes from L1; returns it. Nobody else may read from the server meanwhile.
///
/// The first read fills L1 and the second one is answered from there, unless the machine stood still for so long
/// between the two that L1 had no proof any more.
async fn from_l1(server: &RedisServer, cache: &Cache, key: &Key) -> u32 {
    let reading = async {
        loop {
            let before = reads(server);
            let value = cache.get::<u32>(key).await.unwrap();
            if reads(server) == before {
                return value.expect("L1 answers with what is there");
            }
        }
    };
    crate::soon("an answer comes from L1", reading).await
}

/// Waits until `cache` reads `value` under `key`.
pub(crate) async fn until_read(cache: &Cache, key: &Key, value: Option<u32>) {
    let reading = async {
        while cache.get::<u32>(key).await.unwrap() != value {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    crate::soon(&format!("{key} is read as {value:?}"), reading).await;
}

/// For longer than any test waits: what ends sooner has another reason.
pub(crate) async fn set(cache: &Cache, key: &Key, value: u32) {
    cache.set(key, &value, Ttl::secs(3600)).await.unwrap();
}
