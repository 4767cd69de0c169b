//! Weighers and the `Drop` of values are code of the user, and may call the cache: no lock is held over them.

use std::cell::Cell;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use dexter_cache::{Cache, CacheBuilder, Serving, refresh};
use serde::{Deserialize, Serialize};
use support::RedisServer;

use crate::{BOUND, MINUTE, build, key, patient_builder, until_back};

thread_local! {
    /// Calls the cache from within the cache, and not from within that.
    static CALLING: Cell<bool> = const { Cell::new(false) };
    static CACHE: Cell<Weak<OnceLock<Cache>>> = const { Cell::new(Weak::new()) };
}

/// Calls the cache where it weighs it, and where it is dropped.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Loud(u32);

impl Drop for Loud {
    fn drop(&mut self) {
        call(self.0);
    }
}

/// A call that reaches for the lock of the very key.
fn call(id: u32) {
    if CALLING.replace(true) {
        return;
    }
    let cache = CACHE.take();
    if let Some(found) = cache.upgrade()
        && let Some(found) = found.get()
    {
        let (key, mut context) = (key("loud", id), Context::from_waker(Waker::noop()));
        let load = pin!(found.get_or_load(&key, MINUTE, || async { Loud(id) }));
        if let Poll::Ready(loud) = load.poll(&mut context) {
            assert_eq!(loud.0, id);
        }
        let _ = pin!(found.remove(&crate::key("other", id))).poll(&mut context);
    }
    CACHE.set(cache);
    CALLING.set(false);
}

/// Stores, replaces and removes values on a thread of its own, which must not come to a standstill.
fn work(builder: CacheBuilder, serving: Serving) {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        let cell = Arc::new(OnceLock::new());
        CACHE.set(Arc::downgrade(&cell));
        let builder = builder.memory_weight(300, |entry| {
            let loud = entry.value::<Loud>();
            call(loud.expect("nothing else is stored").0);
            100
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cache = build(builder).await;
            if serving == Serving::Backend {
                until_back(&cache).await;
            }
            cell.set(cache.clone()).expect("set once");
            assert_eq!(cache.health().serving, serving);
            for id in (0..8).cycle().take(100) {
                let key = key("loud", id);
                for _ in 0..2 {
                    let loaded = cache.get_or_load(&key, MINUTE, || async { Loud(id) }).await;
                    assert_eq!(loaded.0, id);
                    let read = cache.get::<Loud>(&key).await.unwrap();
                    assert!(read.is_none_or(|loud| loud.0 == id));
                }
                refresh(cache.get_or_load(&key, MINUTE, || async { Loud(id) })).await;
                cache.set(&key, &Loud(id), MINUTE).await.unwrap();
                if id == 7 {
                    cache.remove(&key).await.unwrap();
                }
            }
        });
        done.send(()).unwrap();
    });
    ended.recv_timeout(BOUND).expect("it ends");
}

#[test]
fn in_memory() {
    work(Cache::builder(), Serving::Memory);
}

#[test]
fn in_memory_while_redis_is_away() {
    work(
        Cache::builder().redis("redis://127.0.0.1:1/0"),
        Serving::Memory,
    );
}

#[test]
fn in_redis_and_in_l1() {
    let server = RedisServer::start();
    let builder = patient_builder(&server.url());
    work(builder.clone(), Serving::Backend);
    work(builder.namespace("loud").tiered(), Serving::Backend);
}
