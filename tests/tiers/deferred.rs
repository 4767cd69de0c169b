//! Transactions and patterns by parts, over Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, Matching, cached, invalidates};
use support::{Proxy, RedisServer};

use crate::{
    MINUTE, break_off, key, patient, patient_builder, ready, until, until_back, until_lost,
};

#[derive(Clone, Default)]
struct Database(Arc<AtomicU32>);

impl Database {
    fn commit(&self, value: u32) {
        self.0.store(value, Ordering::SeqCst);
    }
}

#[cached(ttl = 60, prefix = "tx_get", skip(database))]
async fn read(id: u32, database: &Database) -> Result<u32, String> {
    Ok(database.0.load(Ordering::SeqCst) + id - id)
}

#[cached(ttl = 60, prefix = "tx_list", skip(database))]
async fn list(page: u32, database: &Database) -> Result<u32, String> {
    Ok(database.0.load(Ordering::SeqCst) + page - page)
}

#[invalidates(read(id), pattern = "tx_list:*")]
async fn write(id: u32) -> Result<u32, String> {
    tokio::task::yield_now().await;
    Ok(id)
}

/// What a task of its own sees.
async fn both(cache: &Cache, database: &Database) -> [u32; 2] {
    let (cache, database) = (cache.clone(), database.clone());
    let reads = async move {
        let reads = async {
            [
                read(1, &database).await.unwrap(),
                list(1, &database).await.unwrap(),
            ]
        };
        cache.scope(reads).await
    };
    tokio::spawn(reads).await.unwrap()
}

/// Fills Redis with the rows as they are, and waits until they are there.
async fn fill(cache: &Cache, database: &Database) {
    let truth = database.0.load(Ordering::SeqCst);
    assert_eq!(both(cache, database).await, [truth; 2]);
    until("both rows are stored", || cache.stats().total.stored == 2).await;
}

#[tokio::test]
async fn scar_25_evict_before_commit_is_not_refilled_with_the_old_row() {
    let server = RedisServer::start();
    let (here, there) = (patient(&server).await, patient(&server).await);
    let database = Database::default();
    fill(&here, &database).await;
    let transaction = here.scope(here.deferred(async {
        write(1).await?;
        // Nothing is committed: the old row is the true one, here and there.
        assert_eq!(both(&here, &database).await, [0, 0]);
        assert_eq!(both(&there, &database).await, [0, 0]);
        database.commit(5);
        // Here nobody is shown what is about to be removed, though Redis has it still.
        assert_eq!(both(&here, &database).await, [5, 5]);
        let there_yet = server.cli(&["EXISTS", "tx_get:id=1", "tx_list:page=1"]);
        assert_eq!(there_yet.trim(), "2");
        Ok::<_, String>(())
    }));
    transaction.await.unwrap();
    assert_eq!(both(&here, &database).await, [5, 5]);
    assert_eq!(both(&there, &database).await, [5, 5]);
}

#[tokio::test]
async fn after_a_rollback_redis_is_read_again() {
    let server = RedisServer::start();
    let here = patient(&server).await;
    let database = Database::default();
    fill(&here, &database).await;
    let transaction = here.scope(here.deferred(async {
        write(1).await?;
        Err::<(), _>("rolled back".to_owned())
    }));
    transaction.await.unwrap_err();
    let hits = here.stats().total.hits;
    assert_eq!(both(&here, &database).await, [0, 0]);
    assert_eq!(here.stats().total.hits, hits + 2);
}

#[tokio::test]
async fn a_transaction_that_ends_in_an_outage_is_replayed() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let here = ready(patient_builder(&proxy.url())).await;
    let there = patient(&server).await;
    let database = Database::default();
    fill(&here, &database).await;
    let transaction = here.scope(here.deferred(async {
        write(1).await?;
        break_off(&proxy);
        until_lost(&here).await;
        assert_eq!(both(&here, &database).await, [0, 0]);
        database.commit(5);
        Ok::<_, String>(())
    }));
    transaction.await.unwrap();
    assert_eq!(both(&here, &database).await, [5, 5], "from memory");
    proxy.accept_new();
    until_back(&here).await;
    assert_eq!(both(&here, &database).await, [5, 5]);
    assert_eq!(both(&there, &database).await, [5, 5]);
}

#[tokio::test]
async fn a_pattern_by_parts_removes_just_what_has_them() {
    let server = RedisServer::start();
    for namespace in [None, Some("tenant")] {
        let mut builder = patient_builder(&server.url());
        if let Some(namespace) = namespace {
            builder = builder.namespace(namespace);
        }
        let cache = ready(builder).await;
        let all = [
            key("parts", 1).part("project", "web"),
            key("parts", 1)
                .part("project", "web")
                .part("status", "open"),
            key("parts", 1).part("project", "web2"),
            key("parts", 1).part("subproject", "web"),
            key("parts2", 1).part("project", "web"),
        ];
        let left = async || -> Vec<bool> {
            let found = cache.get_many::<u32>(&all).await.unwrap();
            found.iter().map(Option::is_some).collect()
        };
        for key in &all {
            cache.set(key, &1_u32, MINUTE).await.unwrap();
        }
        let web = Matching::new("parts").part("project", "web");
        let none = web.clone().part("status", &None::<&str>).pattern();
        assert_eq!(cache.invalidate(&none).await.unwrap().removed, 1);
        assert_eq!(left().await, [false, true, true, true, true]);
        assert_eq!(cache.invalidate(&web.pattern()).await.unwrap().removed, 1);
        assert_eq!(left().await, [false, false, true, true, true]);
        let rest = Matching::new("parts").pattern();
        assert_eq!(cache.invalidate(&rest).await.unwrap().removed, 2);
        assert_eq!(left().await, [false, false, false, false, true]);
        cache.clear().await.unwrap();
        assert_eq!(left().await, [false; 5]);
    }
}
