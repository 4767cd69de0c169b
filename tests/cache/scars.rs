//! What went wrong in other libraries, each told once.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::test_util::{Fault, FaultyBackend, Op};
use dexter_cache::{Cache, ErrorKind, Key, KeyPattern, Ttl, refresh};
use tokio::sync::Barrier;

use crate::Counter;

const MINUTE: Ttl = Ttl::secs(60);

fn key() -> Key {
    Key::new("scar").part("id", &1)
}

/// A refused command that was taken for the caller's own error, and not for an outage, failed every request.
#[tokio::test(start_paused = true)]
async fn scar_3_no_kind_of_error_in_no_operation_fails_a_call() {
    let kinds = [
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::NotReady,
        ErrorKind::Backend,
        ErrorKind::OutOfMemory,
        ErrorKind::WrongType,
        ErrorKind::Denied,
    ];
    for kind in kinds {
        for op in [Op::Get, Op::GetMany, Op::Set, Op::Remove, Op::Ping] {
            for namespace in [None, Some("scar")] {
                let backend = FaultyBackend::new();
                let mut builder = Cache::builder().backend(backend.clone());
                if let Some(namespace) = namespace {
                    builder = builder.namespace(namespace);
                }
                let cache = builder.build().await.expect("good options");
                let key = key();
                backend.inject(Fault::Fail(kind).on(op));
                for round in 0..5 {
                    let load = || cache.get_or_load(&key, MINUTE, || async { round });
                    load().await;
                    refresh(load()).await;
                    cache.get::<u32>(&key).await.expect("a get");
                    cache
                        .get_many::<u32>(std::slice::from_ref(&key))
                        .await
                        .expect("a get");
                    // What the server's owner has forbidden is not taken for done.
                    let forbidden = kind == ErrorKind::Denied;
                    let set = cache.set(&key, &round, MINUTE).await;
                    assert!(set.is_ok() || forbidden, "{kind:?} {op:?}: {set:?}");
                    let removed = cache.remove(&key).await;
                    assert!(removed.is_ok() || forbidden, "{kind:?} {op:?}: {removed:?}");
                    let load = cache.get_or_load(&key, MINUTE, || async { round + 100 });
                    let loaded = load.await;
                    assert!(forbidden || loaded == round + 100, "{kind:?} {op:?}");
                }
            }
        }
    }
}

/// Flights that are looked up by the text of the key alone hand one type's value to a caller of another.
#[tokio::test(start_paused = true)]
async fn scar_two_caches_and_two_types_under_one_key_share_no_load() {
    let caches = [Cache::memory(), Cache::memory()];
    let loads = Counter::new();
    // Each load waits for all others: if two of them were one, this would hang.
    let all = Arc::new(Barrier::new(4));
    let number = |cache: Cache, value: u32| {
        let (loads, all) = (Arc::clone(&loads), Arc::clone(&all));
        async move {
            let load = || async {
                loads.add();
                all.wait().await;
                value
            };
            cache.get_or_load(&key(), MINUTE, load).await
        }
    };
    let text = |cache: Cache, value: &'static str| {
        let (loads, all) = (Arc::clone(&loads), Arc::clone(&all));
        async move {
            let load = || async {
                loads.add();
                all.wait().await;
                value.to_owned()
            };
            cache.get_or_load(&key(), MINUTE, load).await
        }
    };
    let [one, other] = caches;
    let four = async {
        tokio::join!(
            number(one.clone(), 1),
            number(other.clone(), 2),
            text(one, "one"),
            text(other, "two")
        )
    };
    let answers = tokio::time::timeout(Duration::from_secs(5), four).await;
    let answers = answers.expect("nobody waits for another one's load");
    assert_eq!(answers, (1, 2, "one".to_owned(), "two".to_owned()));
    assert_eq!(loads.get(), 4);
}

/// A prefix without a delimiter behind it takes its neighbours along.
#[tokio::test(start_paused = true)]
async fn scar_9_a_pattern_in_memory_does_not_touch_what_begins_alike() {
    let cache = Cache::memory();
    let neighbour = Key::new("usersAbc").part("id", &1);
    for key in [&Key::new("users").part("id", &1), &neighbour] {
        cache.set(key, &1, MINUTE).await.expect("a set");
    }
    let removed = cache.invalidate(&KeyPattern::new("users:*")).await;
    assert_eq!(removed.expect("a removal").removed, 1);
    assert_eq!(cache.get(&neighbour).await.expect("a get"), Some(1));
}

/// Keys with something of the request in them never hit.
mod of_a_request {
    use std::time::Instant;

    use dexter_cache::{Cache, cached};

    /// Different in each request, and no part of what is asked for.
    #[derive(Clone)]
    struct Request {
        #[expect(dead_code, reason = "it is what no two requests share")]
        begun: Instant,
    }

    #[cached(ttl = 60, prefix = "of_a_request", skip(request))]
    async fn answer(id: u32, request: Request) -> u32 {
        let Request { .. } = request;
        id
    }

    #[tokio::test]
    async fn scar_24_two_requests_that_ask_the_same_share_an_entry() {
        let cache = Cache::memory();
        cache
            .scope(async {
                for _ in 0..3 {
                    let begun = Instant::now();
                    assert_eq!(answer(1, Request { begun }).await, 1);
                }
            })
            .await;
        let total = cache.stats().total;
        assert_eq!((total.loads, total.hits), (1, 2));
    }
}
