//! Writers under `#[invalidates]`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, cached, invalidates};
use support::cut_off;

use crate::cancel::some_awaits;

#[derive(Clone, Default)]
struct Database(Arc<AtomicU32>);

#[cached(ttl = 60, prefix = "writers_get", skip(database))]
async fn read(id: u32, database: &Database) -> Result<u32, String> {
    Ok(database.0.load(Ordering::SeqCst) + id - id)
}

#[cached(ttl = 60, prefix = "writers_list", skip(database))]
async fn list(page: u32, database: &Database) -> Result<u32, String> {
    Ok(database.0.load(Ordering::SeqCst) + page - page)
}

#[invalidates(read(id), pattern = "writers_list:*")]
async fn write(id: u32, value: u32, database: &Database) -> Result<u32, String> {
    some_awaits().await;
    if value == 0 {
        return Err("zero".to_owned());
    }
    database.0.store(value, Ordering::SeqCst);
    some_awaits().await;
    assert!(value != 99, "written, and then this");
    Ok(id)
}

#[tokio::test]
async fn what_a_writer_makes_stale_is_loaded_again() {
    let (cache, database) = (Cache::memory(), Database::default());
    cache
        .scope(async {
            assert_eq!(read(1, &database).await, Ok(0));
            assert_eq!(list(1, &database).await, Ok(0));
            write(1, 5, &database).await.unwrap();
            assert_eq!(read(1, &database).await, Ok(5));
            assert_eq!(list(1, &database).await, Ok(5));
        })
        .await;
}

#[tokio::test]
async fn a_writer_that_fails_invalidates_nothing() {
    let (cache, database) = (Cache::memory(), Database::default());
    cache
        .scope(async {
            read(1, &database).await.unwrap();
            write(1, 0, &database).await.unwrap_err();
            read(1, &database).await.unwrap();
        })
        .await;
    assert_eq!(cache.stats().prefix("writers_get").hits, 1);
}

#[tokio::test]
async fn after_a_writer_cut_off_at_each_await_the_next_read_loads() {
    for polls in 1..10 {
        let (cache, database) = (Cache::memory(), Database::default());
        cache
            .scope(async {
                read(1, &database).await.unwrap();
                list(1, &database).await.unwrap();
                cut_off(write(1, 5, &database), polls).await;
                let truth = database.0.load(Ordering::SeqCst);
                assert_eq!(read(1, &database).await, Ok(truth), "after {polls} polls");
                assert_eq!(list(1, &database).await, Ok(truth), "after {polls} polls");
            })
            .await;
        let stats = cache.stats();
        assert_eq!(
            stats.total.hits, 0,
            "it may have written: the reads after it load"
        );
    }
}

#[tokio::test]
async fn a_writer_that_was_never_polled_invalidates_nothing() {
    let (cache, database) = (Cache::memory(), Database::default());
    cache
        .scope(async {
            read(1, &database).await.unwrap();
            drop(write(1, 5, &database));
            read(1, &database).await.unwrap();
        })
        .await;
    assert_eq!(cache.stats().prefix("writers_get").hits, 1);
}

#[tokio::test]
async fn a_writer_that_panics_invalidates() {
    let (cache, database) = (Cache::memory(), Database::default());
    let scoped = cache.clone();
    scoped
        .scope(async {
            read(1, &database).await.unwrap();
            let written = database.clone();
            let task = cache.scope(async move { write(1, 99, &written).await });
            assert!(tokio::spawn(task).await.unwrap_err().is_panic());
            assert_eq!(read(1, &database).await, Ok(99));
        })
        .await;
}
