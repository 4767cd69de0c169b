//! Removals that wait for a transaction to end.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{
    Cache, InCacheScope, Invalidated, Key, KeyPattern, Policy, Reach, Ttl, cached, invalidates,
};
use tokio::sync::{Notify, Semaphore};

use support::cut_off;

use crate::cancel::some_awaits;

const MINUTE: Ttl = Ttl::secs(60);

/// Rows that are written within a transaction are seen by others from its commit on.
#[derive(Clone, Default)]
struct Database(Arc<Rows>);

#[derive(Default)]
struct Rows {
    committed: AtomicU32,
    written: AtomicU32,
}

impl Database {
    fn of(value: u32) -> Self {
        let database = Self::default();
        database.write(value);
        database.commit();
        database
    }

    fn write(&self, value: u32) {
        self.0.written.store(value, Ordering::SeqCst);
    }

    fn commit(&self) {
        self.0
            .committed
            .store(self.0.written.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn read(&self) -> u32 {
        self.0.committed.load(Ordering::SeqCst)
    }
}

#[cached(ttl = 60, prefix = "deferred_get", skip(database))]
async fn read(id: u32, database: &Database) -> Result<u32, String> {
    Ok(database.read() + id - id)
}

#[cached(ttl = 60, prefix = "deferred_list", skip(database))]
async fn list(page: u32, database: &Database) -> Result<u32, String> {
    Ok(database.read() + page - page)
}

#[invalidates(read(id), pattern = "deferred_list:*")]
async fn write(id: u32, value: u32, database: &Database) -> Result<(), String> {
    some_awaits().await;
    database.write(value);
    if value == 0 {
        return Err(format!("zero for {id}"));
    }
    Ok(())
}

async fn both(database: &Database) -> [u32; 2] {
    [
        read(1, database).await.unwrap(),
        list(1, database).await.unwrap(),
    ]
}

/// The same from a task of its own.
async fn somebody(cache: &Cache, database: &Database) -> [u32; 2] {
    let (cache, database) = (cache.clone(), database.clone());
    let reader = async move { cache.scope(both(&database)).await };
    tokio::spawn(reader).await.unwrap()
}

fn is_deferred(invalidated: Invalidated) -> bool {
    invalidated.removed == 0 && invalidated.reach == Reach::Deferred
}

#[tokio::test]
async fn a_commit_removes_and_nobody_refills_with_the_old_row_before_it() {
    let (cache, database) = (Cache::memory(), Database::of(1));
    let scoped = cache.clone();
    scoped
        .scope(async {
            assert_eq!(both(&database).await, [1, 1]);
            let done = cache.deferred(async {
                write(1, 2, &database).await?;
                // Somebody reads between the write and the commit: the old row, which is the true one.
                assert_eq!(somebody(&cache, &database).await, [1, 1]);
                database.commit();
                // And between the commit and the end of the transaction.
                assert_eq!(somebody(&cache, &database).await, [2, 2]);
                Ok::<_, String>("done")
            });
            assert_eq!(done.await, Ok("done"));
            assert_eq!(both(&database).await, [2, 2]);
            let hits = cache.stats().total.hits;
            assert_eq!(hits, 0, "nothing old was stored");
            assert_eq!(both(&database).await, [2, 2]);
            assert_eq!(cache.stats().total.hits, 2, "from here on it is cached");
        })
        .await;
}

#[tokio::test]
async fn a_rollback_sends_nothing_and_the_old_row_is_cached_again() {
    let (cache, database) = (Cache::memory(), Database::of(1));
    cache
        .clone()
        .scope(async {
            assert_eq!(both(&database).await, [1, 1]);
            let result = cache.deferred(async {
                write(1, 2, &database).await?;
                write(1, 0, &database).await?;
                database.commit();
                Ok(())
            });
            assert_eq!(result.await, Err("zero for 1".to_owned()));
            // Memory has let go of the key, and has the list still.
            assert_eq!(both(&database).await, [1, 1]);
            assert_eq!(cache.stats().prefix("deferred_list").hits, 1);
            assert_eq!(both(&database).await, [1, 1]);
            assert_eq!(cache.stats().prefix("deferred_get").hits, 1);
        })
        .await;
}

#[tokio::test]
async fn every_removing_call_is_held_back() {
    let cache = Cache::memory();
    let keys = [1, 2, 3, 4, 5].map(|id: u32| Key::new("held").part("id", &id));
    for key in &keys {
        cache.set(key, &1, MINUTE).await.unwrap();
    }
    cache
        .clone()
        .scope(async {
            read(1, &Database::default()).await.unwrap();
            let result = cache.deferred(async {
                assert!(is_deferred(cache.remove(&keys[0]).await?));
                assert!(is_deferred(cache.remove_many(&keys[1..3]).await?));
                let pattern = KeyPattern::new("held:id=4");
                assert!(is_deferred(cache.invalidate(&pattern).await?));
                assert!(is_deferred(read::remove(1).await?));
                // What is written may be undone yet.
                cache.set(&keys[4], &2, MINUTE).await?;
                for key in &keys {
                    assert_eq!(cache.get::<i32>(key).await?, None);
                }
                assert_eq!(
                    cache.get_many::<i32>(&keys).await?,
                    [None; 5],
                    "not from memory, though the pattern has not been swept"
                );
                assert!(is_deferred(cache.clear().await?));
                Ok::<_, dexter_cache::Error>(())
            });
            result.await.unwrap();
            assert_eq!(cache.stats().entries, 0);
            assert_eq!(cache.remove(&keys[0]).await.unwrap().reach, Reach::Applied);
        })
        .await;
}

#[tokio::test]
async fn another_cache_is_not_held_back() {
    let (cache, other) = (Cache::memory(), Cache::memory());
    let key = Key::new("other");
    other.set(&key, &1, MINUTE).await.unwrap();
    let result = cache.deferred(async {
        let removed = other.remove(&key).await.unwrap();
        assert_eq!((removed.removed, removed.reach), (1, Reach::Applied));
        // Within a transaction on the other one, this one's is still found.
        let nested = other.deferred(async {
            assert!(is_deferred(cache.remove(&key).await?));
            Ok::<_, dexter_cache::Error>(())
        });
        nested.await
    });
    result.await.unwrap();
}

#[tokio::test]
async fn a_load_that_began_before_the_removal_is_neither_stored_nor_joined() {
    let cache = Cache::memory();
    let key = Key::new("slow");
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = tokio::spawn({
        let (cache, key) = (cache.clone(), key.clone());
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        async move {
            let load = || async {
                begun.notify_one();
                go.notified().await;
                1
            };
            cache.get_or_load(&key, MINUTE, load).await
        }
    });
    begun.notified().await;
    let result = cache.deferred(async {
        cache.remove(&key).await?;
        // This task's own call does not wait for it.
        assert_eq!(cache.get_or_load(&key, MINUTE, || async { 2 }).await, 2);
        Ok::<_, dexter_cache::Error>(())
    });
    result.await.unwrap();
    go.notify_one();
    assert_eq!(slow.await.unwrap(), 1);
    assert_eq!(cache.get::<i32>(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_load_that_began_within_is_neither_stored_nor_joined_afterwards() {
    let (cache, database) = (Cache::memory(), Database::of(1));
    let key = Key::new("within");
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let result = cache.deferred(async {
        cache.invalidate(&KeyPattern::new("with*")).await?;
        let slow = tokio::spawn({
            let (cache, key, database) = (cache.clone(), key.clone(), database.clone());
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                let load = || async {
                    let row = database.read();
                    begun.notify_one();
                    go.notified().await;
                    row
                };
                cache.get_or_load(&key, MINUTE, load).await
            }
        });
        begun.notified().await;
        database.write(2);
        database.commit();
        Ok::<_, dexter_cache::Error>(slow)
    });
    let slow = result.await.unwrap();
    let load = || async { database.read() };
    assert_eq!(cache.get_or_load(&key, MINUTE, load).await, 2);
    go.notify_one();
    assert_eq!(slow.await.unwrap(), 1);
    assert_eq!(cache.get(&key).await.unwrap(), Some(2_u32));
}

#[tokio::test]
async fn what_the_transaction_itself_loads_is_shown_to_nobody() {
    let cache = Cache::memory();
    let key = Key::new("own");
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let result = cache.deferred(async {
        cache.remove(&key).await.unwrap();
        let own = cache.get_or_load(&key, MINUTE, || async {
            begun.notify_one();
            go.notified().await;
            "uncommitted".to_owned()
        });
        let other = tokio::spawn({
            let (cache, key) = (cache.clone(), key.clone());
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                begun.notified().await;
                let load = || async { "committed".to_owned() };
                let value = cache.get_or_load(&key, MINUTE, load).await;
                go.notify_one();
                value
            }
        });
        assert_eq!(own.await, "uncommitted");
        assert_eq!(other.await.unwrap(), "committed");
        Err::<(), _>("rolled back")
    });
    assert!(result.await.is_err());
    assert_eq!(cache.get::<String>(&key).await.unwrap(), None);
}

#[tokio::test]
async fn cut_off_at_each_await_it_removes_what_may_be_committed() {
    for polls in 1..20 {
        let (cache, database) = (Cache::memory(), Database::of(1));
        cache
            .clone()
            .scope(async {
                assert_eq!(both(&database).await, [1, 1]);
                let ended = cut_off(
                    cache.deferred(async {
                        write(1, 2, &database).await?;
                        some_awaits().await;
                        database.commit();
                        some_awaits().await;
                        Ok::<_, String>(())
                    }),
                    polls,
                );
                let ended = ended.await;
                let truth = database.read();
                assert_eq!(both(&database).await, [truth; 2], "after {polls} polls");
                assert_eq!(cache.stats().total.hits, 0, "after {polls} polls");
                assert!(
                    polls < 19 || ended.is_some(),
                    "the last round is a whole one"
                );
            })
            .await;
    }
}

#[tokio::test]
async fn one_that_was_never_polled_removes_nothing() {
    let cache = Cache::memory();
    let key = Key::new("unpolled");
    cache.set(&key, &1, MINUTE).await.unwrap();
    drop(cache.deferred(async {
        cache.remove(&key).await.unwrap();
        Ok::<_, ()>(())
    }));
    assert_eq!(cache.get(&key).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_panic_removes() {
    let cache = Cache::memory();
    let pattern = KeyPattern::new("panic*");
    let key = Key::new("panic");
    cache.set(&key, &1, MINUTE).await.unwrap();
    let transaction = {
        let (cache, pattern) = (cache.clone(), pattern.clone());
        async move {
            cache.invalidate(&pattern).await.unwrap();
            assert!(pattern.is_everything(), "committed, and then this");
            Ok::<_, ()>(())
        }
    };
    let task = tokio::spawn(cache.deferred(transaction));
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(cache.get::<i32>(&key).await.unwrap(), None);
    assert!(cache.close().await);
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn a_nested_one_hands_over_to_the_outer_one() {
    let cache = Cache::memory();
    let [kept, dropped, failed] = ["kept", "dropped", "failed"].map(Key::new);
    for key in [&kept, &dropped, &failed] {
        cache.set(key, &1, MINUTE).await.unwrap();
    }
    let pattern = |key: &Key| KeyPattern::new(key.as_str());
    let result = cache.deferred(async {
        let inner = cache.deferred(async { cache.invalidate(&pattern(&kept)).await });
        assert!(is_deferred(inner.await?));
        // The outer one has not ended: nothing is removed, and the fence stands.
        assert_eq!(cache.stats().entries, 3);
        assert_eq!(cache.get::<i32>(&kept).await?, None);
        let inner = cache.deferred(async {
            cache.invalidate(&pattern(&failed)).await.unwrap();
            Err::<(), _>(())
        });
        inner.await.unwrap_err();
        assert_eq!(cache.get::<i32>(&failed).await?, Some(1));
        let inner = cache.deferred(async {
            cache.invalidate(&pattern(&dropped)).await.unwrap();
            pending::<Result<(), ()>>().await
        });
        cut_off(inner, 1).await;
        assert_eq!(cache.stats().entries, 3);
        assert_eq!(cache.get::<i32>(&dropped).await?, None);
        Ok::<_, dexter_cache::Error>(())
    });
    result.await.unwrap();
    assert_eq!(cache.stats().entries, 1);
    assert_eq!(cache.get(&failed).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_spawned_task_takes_part_where_it_is_asked_to() {
    let cache = Cache::memory();
    let key = Key::new("spawned");
    let end = Arc::new(Notify::new());
    let remove = || {
        let (cache, key) = (cache.clone(), key.clone());
        async move { cache.remove(&key).await.unwrap().reach }
    };
    let result = cache.deferred(async {
        assert_eq!(tokio::spawn(remove()).await.unwrap(), Reach::Applied);
        let with = tokio::spawn(remove().in_cache_scope());
        assert_eq!(with.await.unwrap(), Reach::Deferred);
        let (end, remove) = (Arc::clone(&end), remove());
        let late = async move {
            end.notified().await;
            remove.await
        };
        Ok::<_, ()>(tokio::spawn(late.in_cache_scope()))
    });
    let late = result.await.unwrap();
    end.notify_one();
    assert_eq!(late.await.unwrap(), Reach::Applied, "it has ended");
}

#[test]
fn it_is_send_though_its_error_is_not() {
    fn is_send<T: Send>(_: &T) {}
    let cache = Cache::memory();
    is_send(&cache.deferred(async { Ok::<_, std::rc::Rc<()>>(()) }));
}

#[tokio::test]
async fn under_a_tag_a_transaction_and_others_share_no_load() {
    let (cache, database) = (Cache::memory(), Database::of(1));
    let key = Key::new("deferred_tagged");
    let policy = || Policy::new(MINUTE).tag("deferred");
    let open = Arc::new(Semaphore::new(0));
    // What a load of somebody else's sees, and what the transaction sees.
    let load = |value: u32| {
        let (cache, key, open) = (cache.clone(), key.clone(), Arc::clone(&open));
        let load = move || async move {
            drop(open.acquire().await.unwrap());
            value
        };
        async move { cache.get_or_load(&key, policy(), load).await }
    };
    let turn = async || {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    };
    for own_first in [false, true] {
        open.forget_permits(1);
        let done = cache.deferred(async {
            let _ = cache.invalidate_tag("deferred").await.unwrap();
            database.write(2);
            let mut others = (!own_first).then(|| tokio::spawn(load(1)));
            turn().await;
            let own = tokio::spawn(load(2).in_cache_scope());
            turn().await;
            let others = others.take().unwrap_or_else(|| tokio::spawn(load(1)));
            turn().await;
            open.add_permits(1);
            assert_eq!(own.await.unwrap(), 2, "own first: {own_first}");
            assert_eq!(others.await.unwrap(), 1, "own first: {own_first}");
            Ok::<_, String>(())
        });
        done.await.unwrap();
        assert_eq!(cache.get::<u32>(&key).await.unwrap(), None);
    }
}

/// Removes another key where it is dropped.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Loud;

thread_local! {
    static LOUD: std::cell::RefCell<Option<Cache>> = const { std::cell::RefCell::new(None) };
}

impl Drop for Loud {
    fn drop(&mut self) {
        let Some(cache) = LOUD.take() else { return };
        let other = Key::new("other");
        let removing = std::pin::pin!(cache.remove(&other));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let done = std::future::Future::poll(removing, &mut context);
        assert!(done.is_ready(), "it is held back, like any other");
    }
}

#[test]
fn a_value_that_is_let_go_of_may_remove_others() {
    let (done, ended) = std::sync::mpsc::channel();
    // On a thread of its own, which must not come to a standstill.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (cache, key) = (Cache::memory(), Key::new("loud"));
            cache.set(&key, &Loud, MINUTE).await.unwrap();
            cache.set(&Key::new("other"), &1, MINUTE).await.unwrap();
            LOUD.set(Some(cache.clone()));
            let removing = cache.deferred(async {
                let done = cache.remove(&key).await.unwrap();
                assert_eq!(done.reach, Reach::Deferred);
                Ok::<_, String>(())
            });
            removing.await.unwrap();
            let left = cache.get::<u32>(&Key::new("other")).await.unwrap();
            done.send(left).unwrap();
        });
    });
    let left = ended.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(left, Ok(None), "it has come to an end");
}
