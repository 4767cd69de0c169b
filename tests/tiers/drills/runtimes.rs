//! A cache that outlives the runtime it was built on.

use std::sync::Arc;

use support::RedisServer;
use tokio::runtime::Runtime;

use super::harness::{Clears, Drill};
use crate::{MINUTE, key, patient, until, until_back, until_lost};

/// One of two threads, as a service may have several.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn two_runtimes_in_a_row() {
    let server = RedisServer::start();
    let first = runtime();
    let drill = first.block_on(Drill::begin(&server.url()));
    let (cache, world) = (drill.cache.clone(), Arc::clone(&drill.world));
    first.block_on(until_back(&cache));
    // In the middle of everything: all tasks, the connection and the guardian end with it.
    drop(first);

    let second = runtime();
    second.block_on(async {
        let drill = Drill::go_on(cache, world, Clears::Some);
        drill.through_recovery().await;
        drill.end_and_read_elsewhere(&server.url()).await;
    });
}

#[test]
fn a_value_from_the_first_runtime_is_found_by_the_fourth() {
    let server = RedisServer::start();
    let mut cache = None;
    for round in 0..4 {
        let runtime = runtime();
        runtime.block_on(async {
            let cache = match &cache {
                Some(cache) => cache,
                None => cache.insert(patient(&server).await),
            };
            if round > 0 {
                // The first call finds the connection gone, and is answered all the same.
                let _ = cache
                    .get_or_load(&key("early", 1), MINUTE, || async { round })
                    .await;
            }
            until_back(cache).await;
            let found = cache
                .get_or_load(&key("kept", 1), MINUTE, || async { round })
                .await;
            assert_eq!(found, 0);
            // The value is stored behind the answer, by a task of this runtime.
            until("the value is stored", || cache.stats().total.stored > 0).await;
        });
    }
}

#[test]
fn a_process_that_only_reads_finds_the_backend_again_on_its_next_runtime() {
    let server = RedisServer::start();
    for many in [false, true] {
        let first = runtime();
        let cache = first.block_on(patient(&server));
        server.kill9();
        first.block_on(until_lost(&cache));
        drop(first);
        server.restart();
        runtime().block_on(async {
            let key = key("kept", 1);
            if many {
                cache.get_many::<u32>(&[key]).await.unwrap();
            } else {
                cache.get::<u32>(&key).await.unwrap();
            }
            until_back(&cache).await;
        });
    }
}
