//! Callers that go away. Time is simulated: a deadline says that somebody hangs.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::{Cache, Key, Ttl, cached, refresh};
use support::cut_off;

use crate::Counter;

pub(crate) async fn some_awaits() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_at_each_await_hands_over() {
    for polls in 0..8 {
        let (cache, loads) = (Cache::memory(), Counter::new());
        let key = Key::new("cancel");
        let call = || {
            cache.get_or_load(&key, Ttl::secs(60), || async {
                loads.add();
                some_awaits().await;
                7
            })
        };
        let leader = cut_off(call(), polls);
        let both = async { tokio::join!(leader, call(), call()) };
        let (_, one, two) = tokio::time::timeout(Duration::from_secs(5), both)
            .await
            .unwrap_or_else(|_| panic!("a follower hangs after {polls} polls"));
        assert_eq!((one, two), (7, 7));
        assert!(
            loads.get() <= 2,
            "{} loads after {polls} polls",
            loads.get()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_cut_off_at_each_await_leaves_what_is_there_and_hangs_nobody() {
    for polls in 0..8 {
        let (cache, loads) = (Cache::memory(), Counter::new());
        let key = Key::new("cancel_refresh");
        cache.set(&key, &0, Ttl::secs(60)).await.unwrap();
        let call = || {
            cache.get_or_load(&key, Ttl::secs(60), || async {
                loads.add();
                some_awaits().await;
                7
            })
        };
        let left = cut_off(refresh(call()), polls);
        let all = async { tokio::join!(left, call(), refresh(call())) };
        let (left, read, refreshed) = tokio::time::timeout(Duration::from_secs(5), all)
            .await
            .unwrap_or_else(|_| panic!("somebody hangs after {polls} polls"));
        assert_eq!((read, refreshed), (0, 7), "after {polls} polls");
        assert_eq!(call().await, 7, "after {polls} polls");
        assert!(
            loads.get() <= 2,
            "{} loads after {polls} polls",
            loads.get()
        );
        assert!(left.is_none_or(|left| left == 7));
    }
    // Alone: nobody is there to go on, and what was there stays.
    for polls in 1..4 {
        let cache = Cache::memory();
        let key = Key::new("cancel_refresh");
        cache.set(&key, &0, Ttl::secs(60)).await.unwrap();
        let call = || {
            cache.get_or_load(&key, Ttl::secs(60), || async {
                some_awaits().await;
                7
            })
        };
        assert_eq!(cut_off(refresh(call()), polls).await, None);
        assert_eq!(call().await, 0, "after {polls} polls");
        assert_eq!(refresh(call()).await, 7, "after {polls} polls");
    }
}

#[derive(Clone)]
struct Loads(Arc<Counter>);

#[cached(ttl = 60, prefix = "cancel_detached", skip(loads))]
async fn detached(id: u32, loads: Loads) -> u32 {
    loads.0.add();
    some_awaits().await;
    id
}

#[tokio::test(start_paused = true)]
async fn where_the_arguments_are_owned_nobody_notices_that_a_leader_has_gone() {
    for polls in 1..8 {
        let (cache, loads) = (Cache::memory(), Loads(Counter::new()));
        cache
            .scope(async {
                cut_off(detached(1, loads.clone()), polls).await;
                let call = tokio::time::timeout(Duration::from_secs(5), detached(1, loads.clone()));
                assert_eq!(call.await.expect("nobody hangs"), 1);
            })
            .await;
        assert_eq!(loads.0.get(), 1, "after {polls} polls");
    }
}
