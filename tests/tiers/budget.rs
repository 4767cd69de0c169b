//! What the first caller pays who finds out that Redis is away: one budget, and not each operation's own deadline.

use std::time::{Duration, Instant};

use dexter_cache::{Cache, KeyPattern, Reach};
use support::{Proxy, RedisServer};

use crate::{MINUTE, build, key, until_back};

const BUDGET: Duration = Duration::from_millis(100);
/// Below the second that connecting may take; the rest is for a busy machine.
const NOTICED: Duration = Duration::from_millis(950);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_pays_one_budget_at_most() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let cache = build(Cache::builder().redis(proxy.url()).budget(BUDGET)).await;
    let key = key("first", 1);
    for what in [
        "load",
        "get",
        "get_many",
        "set",
        "remove",
        "remove_many",
        "invalidate",
        "clear",
    ] {
        until_back(&cache).await;
        cache.set(&key, &1_u32, MINUTE).await.unwrap();
        proxy.hang_new();
        proxy.freeze_existing();
        let begun = Instant::now();
        match what {
            "load" => drop(cache.get_or_load(&key, MINUTE, || async { 1_u32 }).await),
            "get" => assert_eq!(cache.get::<u32>(&key).await.unwrap(), None),
            "get_many" => {
                let keys = [key.clone(), key.clone()];
                assert_eq!(cache.get_many::<u32>(&keys).await.unwrap(), [None, None]);
            }
            "set" => cache.set(&key, &2_u32, MINUTE).await.unwrap(),
            _ => {
                let removed = match what {
                    "remove" => cache.remove(&key).await,
                    "remove_many" => cache.remove_many(std::slice::from_ref(&key)).await,
                    "invalidate" => cache.invalidate(&KeyPattern::new("first:*")).await,
                    _ => cache.clear().await,
                };
                assert_eq!(removed.unwrap().reach, Reach::Journaled, "{what}");
            }
        }
        let time = begun.elapsed();
        assert!(time < NOTICED, "{what} paid {time:?}");
        proxy.thaw();
        proxy.accept_new();
    }
}
