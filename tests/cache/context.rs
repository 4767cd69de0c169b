//! What a load sees of the cache, and says to it.

use std::sync::Arc;
use std::sync::Mutex;

use dexter_cache::{Cache, CacheContext, Ttl, bypass, cached, refresh};

use crate::origin::{HOUR, MINUTE, SECOND, clocked, key, policy};

/// Loads with what `act` does to the context.
async fn load(cache: &Cache, act: impl FnOnce(CacheContext) -> u32) -> u32 {
    let act = || async { act(CacheContext::current().expect("a load has one")) };
    cache.get_or_load(&key(), policy(), act).await
}

#[tokio::test]
async fn there_is_one_in_a_load_and_nowhere_else() {
    let (cache, _) = clocked().await;
    assert!(CacheContext::current().is_none());
    let seen = load(&cache, |context| {
        assert_eq!((context.stale::<u32>(), context.etag()), (None, None));
        1
    });
    assert_eq!(seen.await, 1);
    let key = key();
    let round = bypass(cache.get_or_load(&key, policy(), || async {
        assert!(CacheContext::current().is_none());
        2_u32
    }));
    assert_eq!(round.await, 2);
    assert!(CacheContext::current().is_none());
}

#[tokio::test]
async fn a_load_within_another_has_its_own_and_one_that_goes_round_has_none() {
    let (cache, _) = clocked().await;
    let key = key();
    let outer = cache.get_or_load(&key, policy(), || async {
        let own = CacheContext::current().unwrap();
        own.set_ttl(Ttl::secs(1));
        let inner = dexter_cache::Key::new("inner");
        let inner = || {
            cache.get_or_load(&inner, policy(), || async {
                CacheContext::current().map_or(0, |context| {
                    context.do_not_store();
                    1_u32
                })
            })
        };
        assert_eq!(inner().await, 1);
        assert_eq!(bypass(inner()).await, 0, "not the outer one's");
        assert!(CacheContext::current().is_some());
        7_u32
    });
    assert_eq!(outer.await, 7);
    assert_eq!(cache.get::<u32>(&key).await.unwrap(), Some(7));
    assert_eq!(cache.stats().entries, 1);
}

#[tokio::test]
async fn it_shows_the_value_that_is_there_and_what_names_its_state() {
    let (cache, clock) = clocked().await;
    load(&cache, |context| {
        context.set_etag("\"1\"");
        1
    })
    .await;
    let fresh = refresh(load(&cache, |context| {
        assert_eq!(context.stale::<u32>(), Some(1), "fresh, and refreshed");
        assert_eq!(context.stale::<String>(), None);
        assert_eq!(context.etag().as_deref(), Some("\"1\""));
        2
    }));
    assert_eq!(fresh.await, 2);
    clock.advance(MINUTE);
    load(&cache, |context| {
        assert_eq!(context.stale(), Some(2_u32));
        assert_eq!(context.etag(), None, "the second load has given none");
        3
    })
    .await;
    clock.advance(MINUTE + HOUR);
    load(&cache, |context| {
        assert_eq!(context.stale::<u32>(), None, "gone");
        4
    })
    .await;
}

#[tokio::test]
async fn not_modified_renews_the_life_and_keeps_the_etag() {
    let (cache, clock) = clocked().await;
    load(&cache, |context| {
        assert_eq!(context.not_modified::<u32>(), None);
        context.set_etag("\"1\"");
        1
    })
    .await;
    for _ in 0..3 {
        clock.advance(MINUTE);
        let again = load(&cache, |context| {
            assert_eq!(context.etag().as_deref(), Some("\"1\""));
            context.not_modified().expect("there is a value")
        });
        assert_eq!(again.await, 1);
        clock.advance(MINUTE - SECOND);
        assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1));
        clock.advance(SECOND);
    }
}

#[tokio::test]
async fn the_load_decides_how_long_and_whether_at_all() {
    let (cache, clock) = clocked().await;
    load(&cache, |context| {
        context.set_ttl(Ttl::secs(5));
        1
    })
    .await;
    clock.advance(SECOND * 4);
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), Some(1));
    clock.advance(SECOND);
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
    let kept = load(&cache, |context| {
        context.do_not_store();
        2
    });
    assert_eq!(kept.await, 2);
    let stale = load(&cache, |context| context.stale().unwrap_or(0));
    assert_eq!(stale.await, 1, "what was there stays");
    cache.remove(&key()).await.unwrap();
    let zero = load(&cache, |context| {
        context.set_ttl(Ttl::secs(0));
        3
    });
    assert_eq!(zero.await, 3);
    assert_eq!(cache.get::<u32>(&key()).await.unwrap(), None);
}

type Seen = Arc<Mutex<Vec<Option<u32>>>>;

#[cached(ttl = "1m", stale = "1h", prefix = "context_macro", skip(seen))]
async fn annotated(id: u32, seen: Seen) -> Option<u32> {
    let context = CacheContext::current()?;
    seen.lock().unwrap().push(context.stale());
    Some(context.stale::<u32>().unwrap_or(id) + 1)
}

#[tokio::test]
async fn a_detached_load_has_one_too() {
    let ((cache, clock), seen) = (clocked().await, Seen::default());
    let calls = async {
        assert_eq!(annotated(1, seen.clone()).await, Some(2));
        clock.advance(MINUTE);
        assert_eq!(annotated(1, seen.clone()).await, Some(3));
    };
    cache.scope(calls).await;
    assert_eq!(*seen.lock().unwrap(), [None, Some(2)]);
}
