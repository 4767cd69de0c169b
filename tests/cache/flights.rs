//! Many callers of one key. Time is simulated: it passes where all wait, so a deadline says that somebody hangs.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::{Cache, Key, KeyPattern, Ttl, cached};
use tokio::sync::{Barrier, Semaphore};

use crate::Counter;

const MINUTE: Ttl = Ttl::secs(60);

fn key() -> Key {
    Key::new("flights")
}

/// Starts `callers` tasks that all call before the gate is opened, and returns what they return.
async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    callers: usize,
    gate: &Arc<Semaphore>,
    call: impl Fn() -> F,
) -> Vec<Result<T, tokio::task::JoinError>> {
    let ready = Arc::new(Barrier::new(callers + 1));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (call, ready) = (call(), Arc::clone(&ready));
            tokio::spawn(async move {
                ready.wait().await;
                call.await
            })
        })
        .collect();
    ready.wait().await;
    // On one thread, this lets every caller go as far as it can.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1_000_000);
    let mut results = Vec::new();
    for task in tasks {
        let result = tokio::time::timeout(Duration::from_secs(60), task).await;
        results.push(result.expect("nobody hangs"));
    }
    results
}

async fn open(gate: &Semaphore) {
    gate.acquire().await.expect("never closed").forget();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_of_a_cold_key_load_once() {
    let (cache, loads, gate) = (Cache::memory(), Counter::new(), Arc::new(Semaphore::new(0)));
    let call = || {
        let (cache, loads, gate) = (cache.clone(), Arc::clone(&loads), Arc::clone(&gate));
        async move {
            let load = || async {
                loads.add();
                open(&gate).await;
                7
            };
            cache.get_or_load(&key(), MINUTE, load).await
        }
    };
    let results = together(1000, &gate, call).await;
    assert!(results.into_iter().all(|result| result.unwrap() == 7));
    assert_eq!(loads.get(), 1);
    assert_eq!(cache.stats().total.coalesced, 999);
}

#[derive(Debug, Clone, PartialEq)]
struct Down(usize);

#[tokio::test(start_paused = true)]
async fn a_failing_load_runs_once_a_wave_and_all_get_its_error() {
    let (cache, loads) = (Cache::memory(), Counter::new());
    for wave in 1..=3 {
        let gate = Arc::new(Semaphore::new(0));
        let call = || {
            let (cache, loads, gate) = (cache.clone(), Arc::clone(&loads), Arc::clone(&gate));
            async move {
                let load = || async {
                    let run = loads.add();
                    open(&gate).await;
                    Err::<u32, _>(Down(run))
                };
                cache.try_get_or_load_shared(&key(), MINUTE, load).await
            }
        };
        let results = together(300, &gate, call).await;
        assert!(
            results
                .into_iter()
                .all(|result| result.unwrap() == Err(Down(wave)))
        );
        assert_eq!(loads.get(), wave, "the next call tries again");
    }
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn errors_that_cannot_be_shared_are_retried_a_few_at_once_and_not_in_a_row() {
    struct Opaque;
    let (cache, gate) = (Cache::memory(), Arc::new(Semaphore::new(0)));
    let (running, most) = (Counter::new(), Counter::new());
    let call = || {
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        async move {
            let load = || async {
                let now = running.add();
                most.0.fetch_max(now, std::sync::atomic::Ordering::SeqCst);
                open(&gate).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                running.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                Err::<u32, _>(Opaque)
            };
            cache.try_get_or_load(&key(), MINUTE, load).await
        }
    };
    let results = together(200, &gate, call).await;
    assert!(results.into_iter().all(|result| result.unwrap().is_err()));
    let most = most.get();
    assert!(
        (2..=32).contains(&most),
        "{most} at once: more than one, and bounded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panicking_load_hangs_nobody_and_stores_nothing() {
    let (cache, loads, gate) = (Cache::memory(), Counter::new(), Arc::new(Semaphore::new(0)));
    let call = || {
        let (cache, loads, gate) = (cache.clone(), Arc::clone(&loads), Arc::clone(&gate));
        async move {
            let load = || async {
                let run = loads.add();
                open(&gate).await;
                assert!(run > 1, "the first load fails");
                run
            };
            cache.get_or_load(&key(), MINUTE, load).await
        }
    };
    let results = together(200, &gate, call).await;
    let panicked = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(panicked, 1, "the caller that ran it");
    assert_eq!(loads.get(), 2, "one of those who wait tries again");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_reaches_its_own_key_runs_the_function() {
    let (cache, key) = (Cache::memory(), key());
    let inner = || cache.get_or_load(&key, MINUTE, || async { 1 });
    let outer = cache.get_or_load(&key, MINUTE, || async { inner().await + 1 });
    let outer = tokio::time::timeout(Duration::from_secs(5), outer).await;
    assert_eq!(outer.expect("no deadlock"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_only_so_long() {
    let cache = Cache::builder()
        .follow_timeout(Duration::from_secs(1))
        .build()
        .await
        .unwrap();
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_load(&key(), MINUTE, std::future::pending::<u32>)
                .await
        }
    });
    tokio::task::yield_now().await;
    let value = cache.get_or_load(&key(), MINUTE, || async { 2_u32 }).await;
    assert_eq!(value, 2);
    assert_eq!(cache.stats().total.follow_timeouts, 1);
    slow.abort();
}

/// A refresh joins no load, but there is nothing else for those to have who come while it runs.
#[tokio::test(start_paused = true)]
async fn a_refresh_of_what_is_not_there_is_the_one_load_of_its_key() {
    let (cache, loads, gate) = (Cache::memory(), Counter::new(), Arc::new(Semaphore::new(0)));
    let call = || {
        let (cache, loads, gate) = (cache.clone(), Arc::clone(&loads), Arc::clone(&gate));
        async move {
            let load = || async {
                loads.add();
                open(&gate).await;
                7
            };
            cache.get_or_load(&key(), MINUTE, load).await
        }
    };
    let refreshing = tokio::spawn(dexter_cache::refresh(call()));
    while loads.get() == 0 {
        tokio::task::yield_now().await;
    }
    let results = together(100, &gate, call).await;
    assert!(results.into_iter().all(|result| result.unwrap() == 7));
    assert_eq!(refreshing.await.unwrap(), 7);
    assert_eq!(loads.get(), 1);

    // What is there goes on answering.
    let gate = Arc::new(Semaphore::new(0));
    let slow = || async {
        open(&gate).await;
        8
    };
    let key = key();
    let refreshing = dexter_cache::refresh(cache.get_or_load(&key, MINUTE, slow));
    let others = async {
        assert_eq!(call().await, 7);
        gate.add_permits(1);
    };
    assert_eq!(tokio::join!(refreshing, others).0, 8);
}

#[cached(ttl = 60, prefix = "recursive")]
async fn factorial(of: u64) -> u64 {
    if of == 0 {
        1
    } else {
        of * Box::pin(factorial(of - 1)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_may_call_itself() {
    let cache = Cache::memory();
    cache
        .scope(async {
            assert_eq!(factorial(5).await, 120);
            assert_eq!(factorial(6).await, 720);
        })
        .await;
    assert_eq!(cache.stats().total.loads, 7);
}

/// Whatever a removal names, and whether the load runs in its caller or goes on without it.
#[tokio::test(start_paused = true)]
async fn scar_1_a_load_under_way_is_not_stored_when_its_key_is_removed_by_whatever_way() {
    for detached in [false, true] {
        for how in 0..5 {
            let cache = Cache::memory();
            let gate = Arc::new(Semaphore::new(0));
            let load = {
                let (cache, gate) = (cache.clone(), Arc::clone(&gate));
                tokio::spawn(async move {
                    let load = || async move {
                        gate.acquire().await.expect("never closed").forget();
                        1
                    };
                    if detached {
                        cache.get_or_load_detached(&key(), MINUTE, load).await
                    } else {
                        cache.get_or_load(&key(), MINUTE, load).await
                    }
                })
            };
            while cache.stats().total.loads == 0 {
                tokio::task::yield_now().await;
            }
            match how {
                0 => drop(cache.remove(&key()).await.unwrap()),
                1 => drop(cache.remove_many(&[key()]).await.unwrap()),
                2 => drop(cache.invalidate(&KeyPattern::new("fl*")).await.unwrap()),
                3 => drop(cache.clear().await.unwrap()),
                _ => cache.set(&key(), &2, MINUTE).await.unwrap(),
            }
            gate.add_permits(1);
            assert_eq!(load.await.unwrap(), 1, "its caller gets it");
            let set = (how == 4).then_some(2);
            assert_eq!(cache.get(&key()).await.unwrap(), set, "{how} {detached}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_get_neither_waits_for_a_load_nor_leads_one() {
    let cache = Cache::memory();
    let gate = Arc::new(Semaphore::new(0));
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
    let load = {
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let load = || async move {
                gate.acquire().await.expect("never closed").forget();
                1
            };
            cache.get_or_load(&key(), MINUTE, load).await
        })
    };
    while cache.stats().total.loads == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None, "at once");
    gate.add_permits(1);
    assert_eq!(load.await.unwrap(), 1);
    assert_eq!(cache.get(&key()).await.unwrap(), Some(1));
    assert_eq!(cache.stats().total.loads, 1);
}
