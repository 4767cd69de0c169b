//! The test kit itself: its backends do what every backend must as long as nothing is injected, and break as they are
//! told.

use std::sync::Arc;
use std::time::Duration;

use dexter_cache::backend::{CacheBackend, MemoryBackend, SetOutcome, When};
use dexter_cache::test_util::{
    Fault, FaultyBackend, Op, Outcome, RecordingBackend, TestClock, behavior,
};
use dexter_cache::{Cache, ErrorKind, Key, Reach, Serving, Ttl};
use tokio::time::{Instant, sleep, timeout};

mod faulty {
    use super::{Arc, CacheBackend, FaultyBackend};

    async fn fresh() -> (Arc<dyn CacheBackend>, ()) {
        (Arc::new(FaultyBackend::new()), ())
    }

    dexter_cache::test_util::backend_behavior!(fresh);
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_recording_backend_and_the_whole_suite_in_a_row() {
    behavior::check_all(|| async { RecordingBackend::wrapping(MemoryBackend::new(100_000)) }).await;
}

async fn set(backend: &FaultyBackend, key: &str) -> Result<SetOutcome, dexter_cache::Error> {
    backend.set(key, "v".into(), MINUTE, When::Always).await
}

async fn is_there(backend: &FaultyBackend, key: &str) -> bool {
    backend.get(key).await.expect("nothing injected").is_some()
}

#[tokio::test(start_paused = true)]
async fn the_next_operations_of_a_kind_fail_and_no_others() {
    let backend = FaultyBackend::new();
    backend.inject(Fault::Fail(ErrorKind::OutOfMemory).on(Op::Set).times(2));
    assert!(!is_there(&backend, "a").await);
    for _ in 0..2 {
        let refused = set(&backend, "a").await.expect_err("full");
        assert_eq!(refused.kind(), ErrorKind::OutOfMemory);
    }
    assert_eq!(set(&backend, "a").await.expect("over"), SetOutcome::Stored);
    assert_eq!(backend.injected(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_let_through_by_heal_and_failed_by_reset() {
    let backend = FaultyBackend::new();
    backend.inject(Fault::Hang);
    let hung = timeout(MINUTE, set(&backend, "dropped")).await;
    assert!(hung.is_err());
    let (one, two) = (backend.clone(), backend.clone());
    let failed = tokio::spawn(async move { set(&one, "failed").await });
    sleep(SECOND).await;
    backend.reset();
    let error = failed.await.expect("ends").expect_err("broken off");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let through = tokio::spawn(async move { set(&two, "through").await });
    sleep(SECOND).await;
    backend.heal();
    through.await.expect("ends").expect("goes through");
    assert!(is_there(&backend, "through").await);
    assert!(!is_there(&backend, "failed").await && !is_there(&backend, "dropped").await);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_of_something_done() {
    let backend = FaultyBackend::new();
    backend.inject(Fault::LoseReply.times(1));
    let error = set(&backend, "a").await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(is_there(&backend, "a").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_late_is_done_after_the_caller_has_gone_unless_the_connection_is_made_anew() {
    let backend = FaultyBackend::new();
    backend.inject(Fault::Late(SECOND).on(Op::Set));
    for made_anew in [false, true] {
        let key = if made_anew { "voided" } else { "late" };
        assert!(timeout(SECOND / 2, set(&backend, key)).await.is_err());
        if made_anew {
            backend.reset();
            backend.ping().await.expect("a new connection");
        }
        assert!(!is_there(&backend, key).await);
        sleep(SECOND).await;
        assert_eq!(is_there(&backend, key).await, !made_anew);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_operation_is_done_when_it_is_answered() {
    let backend = FaultyBackend::new();
    backend.inject(Fault::Delay(SECOND).on(Op::Set));
    assert!(timeout(SECOND / 2, set(&backend, "a")).await.is_err());
    sleep(SECOND).await;
    assert!(!is_there(&backend, "a").await);
    let begun = Instant::now();
    set(&backend, "a").await.expect("set");
    assert_eq!(begun.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_outage_from_the_first_hang_to_the_replay_without_waiting() {
    let backend = FaultyBackend::new();
    let clock = TestClock::tokio();
    let builder = Cache::builder().backend(backend.clone()).clock(&clock);
    let cache = builder.build().await.expect("good options");
    let key = Key::new("row");
    cache.set(&key, &1, Ttl::secs(600)).await.expect("set");

    backend.inject(Fault::Hang);
    let begun = Instant::now();
    let gone = cache.remove(&key).await.expect("a removal");
    assert_eq!(gone.reach, Reach::Journaled);
    assert_eq!(cache.health().serving, Serving::Memory);
    assert_eq!(begun.elapsed(), Duration::from_millis(250), "one budget");
    let load = || cache.get_or_load(&key, Ttl::secs(600), || async { 2 });
    assert_eq!(load().await, 2);
    assert_eq!(cache.get::<i32>(&key).await.expect("get"), Some(2));
    sleep(Duration::from_secs(31)).await;
    let kept = cache.get::<i32>(&key).await.expect("get");
    assert_eq!(kept, None, "no longer than the fallback TTL");

    backend.heal();
    while cache.health().serving == Serving::Memory {
        sleep(SECOND).await;
    }
    assert_eq!(cache.get::<i32>(&key).await.expect("get"), None);
}

#[tokio::test(start_paused = true)]
async fn the_date_may_be_wrong_by_an_hour_and_be_set() {
    let clock = TestClock::new();
    let begun = clock.wall_ms();
    clock.advance(MINUTE);
    assert_eq!(clock.wall_ms(), begun + 60_000);
    clock.set_wall_ms(5_000_000);
    clock.advance(SECOND);
    assert_eq!(clock.wall_ms(), 5_001_000);
    assert_eq!(clock.elapsed(), MINUTE + SECOND);
    let followed = TestClock::tokio();
    sleep(SECOND).await;
    assert_eq!(followed.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_record_tells_what_was_asked_and_what_came_of_it() {
    let faulty = FaultyBackend::new();
    let backend = RecordingBackend::wrapping(faulty.clone());
    set(&faulty, "a").await.expect("set");
    backend.get_many(&["a", "b"]).await.expect("get_many");
    faulty.inject(Fault::Fail(ErrorKind::NotReady).on(Op::Remove).times(1));
    backend.remove(&["a"]).await.expect_err("injected");
    faulty.inject(Fault::Hang.on(Op::Get));
    assert!(timeout(SECOND, backend.get("b")).await.is_err());
    let operations = backend.take();
    let seen: Vec<_> = operations
        .iter()
        .map(|operation| (operation.op, operation.keys.join(" "), operation.outcome))
        .collect();
    assert_eq!(
        seen,
        [
            (Op::GetMany, "a b".to_owned(), Outcome::Found(1)),
            (
                Op::Remove,
                "a".to_owned(),
                Outcome::Failed(ErrorKind::NotReady)
            ),
            (Op::Get, "b".to_owned(), Outcome::Abandoned),
        ]
    );
    backend.reset();
    assert_eq!((backend.count(Op::Get), backend.count(Op::Reset)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_it_holds_expires_in_paused_time() {
    let backend = FaultyBackend::new();
    let stored = backend.set("a", "v".into(), SECOND, When::Always);
    assert_eq!(stored.await.expect("nothing injected"), SetOutcome::Stored);
    tokio::time::advance(SECOND).await;
    assert!(!is_there(&backend, "a").await);
}
