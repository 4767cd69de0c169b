//! Writers under `#[invalidates]`, over Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, cached, invalidates};
use support::{Proxy, RedisServer, cut_off};

use crate::{break_off, patient, patient_builder, ready, until_back, until_lost};

#[derive(Clone, Default)]
struct Database(Arc<AtomicU32>);

#[cached(ttl = 60, prefix = "redis_get", skip(database))]
async fn read(id: u32, database: &Database) -> Result<u32, String> {
    Ok(database.0.load(Ordering::SeqCst) + id - id)
}

#[cached(ttl = 60, prefix = "redis_list", skip(database))]
async fn list(page: u32, database: &Database) -> Result<u32, String> {
    Ok(database.0.load(Ordering::SeqCst) + page - page)
}

#[invalidates(read(id), pattern = "redis_list:*")]
async fn write(id: u32, value: u32, database: &Database) -> Result<u32, String> {
    tokio::task::yield_now().await;
    database.0.store(value, Ordering::SeqCst);
    tokio::task::yield_now().await;
    Ok(id)
}

async fn both(cache: &Cache, database: &Database) -> [u32; 2] {
    let reads = async {
        [
            read(1, database).await.unwrap(),
            list(1, database).await.unwrap(),
        ]
    };
    cache.scope(reads).await
}

#[tokio::test]
async fn after_a_writer_the_next_read_loads_in_every_process() {
    let server = RedisServer::start();
    let (here, there) = (patient(&server).await, patient(&server).await);
    let database = Database::default();
    assert_eq!(both(&here, &database).await, [0, 0]);
    assert_eq!(both(&there, &database).await, [0, 0]);
    here.scope(write(1, 5, &database)).await.unwrap();
    assert_eq!(both(&here, &database).await, [5, 5]);
    assert_eq!(both(&there, &database).await, [5, 5]);
}

#[tokio::test]
async fn a_writer_cut_off_at_each_await_invalidates_here_at_once_and_elsewhere_by_the_close() {
    let server = RedisServer::start();
    for polls in 1..6 {
        let (here, there) = (patient(&server).await, patient(&server).await);
        let database = Database::default();
        server.cli(&["FLUSHALL"]);
        assert_eq!(both(&here, &database).await, [0, 0]);
        here.scope(cut_off(write(1, 5, &database), polls)).await;
        let truth = database.0.load(Ordering::SeqCst);
        assert_eq!(
            both(&here, &database).await,
            [truth; 2],
            "after {polls} polls"
        );
        assert!(here.close().await, "after {polls} polls");
        database.0.store(9, Ordering::SeqCst);
        let seen = both(&there, &database).await;
        assert!(
            seen.iter().all(|value| [truth, 9].contains(value)),
            "{seen:?} after {polls} polls: the old value is gone"
        );
    }
}

#[tokio::test]
async fn a_writer_during_an_outage_is_replayed() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let here = ready(patient_builder(&proxy.url())).await;
    let there = patient(&server).await;
    let database = Database::default();
    assert_eq!(both(&here, &database).await, [0, 0]);
    break_off(&proxy);
    until_lost(&here).await;
    here.scope(write(1, 5, &database)).await.unwrap();
    assert_eq!(both(&here, &database).await, [5, 5], "from memory");
    proxy.accept_new();
    until_back(&here).await;
    assert_eq!(both(&here, &database).await, [5, 5]);
    assert_eq!(both(&there, &database).await, [5, 5]);
}
