//! Many callers of one key over Redis, whatever becomes of the first.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use dexter_cache::{Cache, Key};
use support::RedisServer;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

use crate::{MINUTE, key, patient, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_a_cold_key_load_it_once() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let loads = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = || async {
                    sleep(Duration::from_millis(100)).await;
                    loads.fetch_add(1, Ordering::SeqCst)
                };
                cache.get_or_load(&key("cold", 1), MINUTE, load).await
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(soon("a caller", caller).await.unwrap(), 0);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let stats = cache.stats().total;
    assert_eq!(stats.loads, 1);
    assert_eq!(stats.hits + stats.misses, 1000);
}

/// A load with several points at which its caller can be cancelled.
async fn load(cache: &Cache, key: &Key, loads: &AtomicU32) -> u32 {
    let load = || async {
        let number = loads.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        sleep(Duration::from_millis(3)).await;
        yield_now().await;
        number
    };
    cache.get_or_load(key, MINUTE, load).await
}

/// Polls `future` at most `times` times, then drops it; `true` if it came to its end.
async fn poll_times(future: impl Future, times: usize) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_caller_cancelled_at_each_point_hangs_nobody() {
    let server = RedisServer::start();
    let (cache, elsewhere) = (patient(&server).await, patient(&server).await);
    for followers in [20, 0] {
        let mut points = 0;
        for times in 1.. {
            let key = key("cut", times * 2 + u32::from(followers > 0));
            let loads = Arc::new(AtomicU32::new(0));
            let others: Vec<JoinHandle<u32>> = {
                let mut first = Box::pin(load(&cache, &key, &loads));
                // The first one leads; the others come while it does.
                let done = poll_times(first.as_mut(), 1).await;
                let others = (0..followers)
                    .map(|_| {
                        let (cache, key, loads) = (cache.clone(), key.clone(), Arc::clone(&loads));
                        tokio::spawn(async move { load(&cache, &key, &loads).await })
                    })
                    .collect();
                yield_now().await;
                let rest = usize::try_from(times).unwrap() - 1;
                if done || rest > 0 && soon("the first", poll_times(first.as_mut(), rest)).await {
                    points = times;
                }
                others
            };
            let mut seen = Vec::new();
            for other in others {
                seen.push(soon("a follower", other).await.unwrap());
            }
            // Another process finds the value, or no lease of somebody who is gone.
            let there = soon("another process", load(&elsewhere, &key, &loads)).await;
            let here = soon("the next caller", load(&cache, &key, &loads)).await;
            assert_eq!((here, there), (there, there));
            assert!(
                seen.iter().all(|&value| value == there),
                "{seen:?}, {there}"
            );
            let loads = loads.load(Ordering::SeqCst);
            assert!(loads <= 2, "cut after {times} polls: {loads} loads");
            if points > 0 {
                break;
            }
        }
        // The two `yield_now` of the load are two at least.
        assert!(points > 2, "only {points} polls: nothing was cut");
    }
}

/// All on one thread: a caller that has been polled once is part of the flight.
#[tokio::test]
async fn a_failing_load_fails_its_wave_with_one_error_and_is_tried_again() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    let (loads, entered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for wave in 0..3 {
        entered.store(0, Ordering::SeqCst);
        let callers: Vec<_> = (0..200)
            .map(|_| {
                let (cache, loads, entered) =
                    (cache.clone(), Arc::clone(&loads), Arc::clone(&entered));
                tokio::spawn(async move {
                    let load = || async {
                        let number = loads.fetch_add(1, Ordering::SeqCst);
                        while entered.load(Ordering::SeqCst) < 200 {
                            yield_now().await;
                        }
                        Err::<u32, String>(format!("boom {number}"))
                    };
                    entered.fetch_add(1, Ordering::SeqCst);
                    cache
                        .try_get_or_load_shared(&key("failing", 1), MINUTE, load)
                        .await
                })
            })
            .collect();
        for caller in callers {
            let error = soon("a caller", caller).await.unwrap().unwrap_err();
            assert_eq!(error, format!("boom {wave}"));
        }
        assert_eq!(loads.load(Ordering::SeqCst), wave + 1);
    }
    let failing = key("failing", 1);
    let good = cache.try_get_or_load_shared(&failing, MINUTE, || async { Ok::<u32, String>(7) });
    assert_eq!(soon("the next call", good).await, Ok(7));
    until("it is stored", || cache.stats().total.stored == 1).await;
    assert_eq!(cache.get(&failing).await.unwrap(), Some(7_u32));
}

/// How a load ends that nobody can share.
#[derive(Clone, Copy, Debug)]
enum End {
    Error,
    Panic,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_that_cannot_be_shared_are_not_tried_one_after_another() {
    let server = RedisServer::start();
    let cache = patient(&server).await;
    std::panic::set_hook(Box::new(|info| {
        let expected = info.payload().downcast_ref::<&str>() == Some(&"a load that panics");
        if !expected {
            eprintln!("{info}");
        }
    }));
    for (id, end) in [(1, End::Error), (2, End::Panic)] {
        let (loads, now, most) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicU32::new(0)),
        );
        let all_here = Arc::new(AtomicBool::new(false));
        let mut callers: Vec<_> = (0..200)
            .map(|_| {
                let (cache, all_here, loads, now, most) = (
                    cache.clone(),
                    Arc::clone(&all_here),
                    Arc::clone(&loads),
                    Arc::clone(&now),
                    Arc::clone(&most),
                );
                Box::pin(async move {
                    let load = || async {
                        while !all_here.load(Ordering::SeqCst) {
                            sleep(Duration::from_millis(1)).await;
                        }
                        let failed_so_far = loads.fetch_add(1, Ordering::SeqCst);
                        let others = now.fetch_add(1, Ordering::SeqCst);
                        most.fetch_max(others + 1, Ordering::SeqCst);
                        // From the second on each failure lets one more try at once: from here on sixteen may, and wait for each other.
                        while failed_so_far >= 16 && most.load(Ordering::SeqCst) < 16 {
                            sleep(Duration::from_millis(1)).await;
                        }
                        now.fetch_sub(1, Ordering::SeqCst);
                        match end {
                            End::Error => Err::<u32, ()>(()),
                            End::Panic => panic!("a load that panics"),
                        }
                    };
                    cache
                        .try_get_or_load(&key("broken", id), MINUTE, load)
                        .await
                })
            })
            .collect();
        // All of them are of one flight, and none ends before the last one has come: whoever came later would begin another.
        for caller in &mut callers {
            assert!(!poll_times(caller.as_mut(), 1).await);
        }
        all_here.store(true, Ordering::SeqCst);
        let callers: Vec<_> = callers.into_iter().map(tokio::spawn).collect();
        for caller in callers {
            let ended = soon("a caller", caller).await;
            assert!(!matches!(ended, Ok(Ok(_))), "nothing was loaded");
        }
        // Each caller fails by its own load: in rounds of 1, 2, 4, … 32.
        assert_eq!(loads.load(Ordering::SeqCst), 200, "{end:?}");
        let most = most.load(Ordering::SeqCst);
        assert!((16..=40).contains(&most), "{end:?}: {most} at once");

        let broken = key("broken", id);
        assert_eq!(cache.get::<u32>(&broken).await.unwrap(), None);
        let good = cache.get_or_load(&broken, MINUTE, || async { 7_u32 });
        assert_eq!(soon("the next call", good).await, 7);
        until("it is stored", || {
            cache.stats().total.stored == u64::from(id)
        })
        .await;
    }
}
