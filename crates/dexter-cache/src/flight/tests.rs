use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::pattern::KeyPattern;

const TYPE: fn() -> TypeId = TypeId::of::<u32>;

fn key() -> Key {
    Key::raw("user:1")
}

fn lead(flights: &Arc<Flights>) -> Turn {
    match flights.join(&key(), TYPE(), &TagSet::EMPTY) {
        Joined::Lead(turn) => turn,
        Joined::Follow(_) => panic!("somebody leads already"),
    }
}

fn follow(flights: &Arc<Flights>) -> Ticket {
    match flights.join(&key(), TYPE(), &TagSet::EMPTY) {
        Joined::Follow(ticket) => ticket,
        Joined::Lead(_) => panic!("nobody leads"),
    }
}

fn value(number: u32) -> Landed {
    Landed::Value {
        value: Arc::new(number),
        fresh_until: 0,
        source: Source::Loaded,
    }
}

fn number(waited: Waited) -> Option<u32> {
    match waited {
        Waited::Landed(Landed::Value { value, .. }) => value.downcast_ref().copied(),
        _ => None,
    }
}

#[tokio::test]
async fn a_turn_that_comes_back_after_another_one_has_landed_stores_nothing() {
    let flights = Flights::new(Guards::default());
    let first = lead(&flights);
    let (second, one, two) = (follow(&flights), follow(&flights), follow(&flights));
    // One tries again, and after it has failed as well, two at once.
    first.fail();
    let Waited::Turn(second) = second.wait().await else {
        panic!("a failed turn is passed on");
    };
    second.fail();
    let (Waited::Turn(one), Waited::Turn(two)) = (one.wait().await, two.wait().await) else {
        panic!("the second one is passed on, and one more");
    };
    drop(one.land(value(1)));
    // A fence that comes now finds no flight any more.
    drop(flights.raise(Target::Key(key())));
    assert!(two.ticket().store(|_| ()).is_none());
    assert!(two.ticket().is_fenced());
    drop(two.land(value(2)));
    assert!(flights.is_idle());
}

#[tokio::test]
async fn followers_get_what_the_leader_brings() {
    let flights = Flights::new(Guards::default());
    let turn = lead(&flights);
    let followers = [follow(&flights), follow(&flights)];
    let arrival = turn.land(value(7));
    for follower in followers {
        assert_eq!(number(follower.wait().await), Some(7));
    }
    assert_eq!(
        number(follow(&flights).wait().await),
        Some(7),
        "it can be joined until it is stored"
    );
    drop(arrival);
    assert!(flights.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_leader_hands_over_to_exactly_one() {
    let flights = Flights::new(Guards::default());
    let turn = lead(&flights);
    let (one, two) = (follow(&flights), follow(&flights));
    drop(turn);
    let Waited::Turn(next) = one.wait().await else {
        panic!("a turn was free")
    };
    let waiting = tokio::time::timeout(Duration::from_millis(20), two.wait()).await;
    assert!(waiting.is_err(), "the second one waits for the first");
    drop(next.land(value(1)));
    assert!(flights.is_idle());
}

#[tokio::test]
async fn after_the_first_each_failed_round_lets_twice_as_many_try() {
    let flights = Flights::new(Guards::default());
    let mut turns = vec![lead(&flights)];
    let mut waiting: Vec<Ticket> = (0..100).map(|_| follow(&flights)).collect();
    let mut sizes = Vec::new();
    while !waiting.is_empty() {
        sizes.push(turns.len());
        for turn in turns.drain(..) {
            turn.fail();
        }
        let mut rest = Vec::new();
        for ticket in waiting {
            if ticket.flight.turns.available_permits() == 0 {
                rest.push(ticket);
                continue;
            }
            match ticket.wait().await {
                Waited::Turn(turn) => turns.push(turn),
                Waited::Landed(_) | Waited::Outdated => panic!("nothing has landed"),
            }
        }
        waiting = rest;
    }
    assert_eq!(sizes[..7], [1, 1, 2, 4, 8, 16, 32], "and no more than 32");
    drop(turns);
    assert!(flights.is_idle());
}

#[test]
fn types_under_one_key_do_not_share_a_flight() {
    let flights = Flights::new(Guards::default());
    let _turn = lead(&flights);
    assert!(matches!(
        flights.join(&key(), TypeId::of::<String>(), &TagSet::EMPTY),
        Joined::Lead(_)
    ));
}

#[test]
fn a_load_that_began_before_a_fence_is_not_stored() {
    for target in [
        Target::Key(key()),
        Target::Pattern(KeyPattern::new("user:*")),
        Target::Everything,
    ] {
        let flights = Flights::new(Guards::default());
        let turn = lead(&flights);
        drop(flights.raise(target.clone()));
        assert!(turn.ticket().is_fenced(), "{target:?}");
        assert!(turn.ticket().store(|_| panic!("stored")).is_none());
        let after = lead(&flights);
        assert!(
            after.ticket().store(|_| ()).is_some(),
            "a load after the fence is"
        );
        drop((turn, after));
        assert!(flights.is_idle());
    }
}

#[test]
fn a_load_that_begins_under_a_fence_is_shared_until_it_falls() {
    for target in [
        Target::Key(key()),
        Target::Pattern(KeyPattern::new("user:*")),
    ] {
        let flights = Flights::new(Guards::default());
        let fence = flights.raise(target);
        let turn = lead(&flights);
        assert!(turn.ticket().is_fenced());
        drop(follow(&flights));
        drop(fence);
        drop(lead(&flights));
        drop(turn);
        assert!(flights.is_idle());
    }
}

#[test]
fn a_fence_touches_nothing_else() {
    let flights = Flights::new(Guards::default());
    let turn = lead(&flights);
    drop(flights.raise(Target::Key(Key::raw("user:2"))));
    drop(flights.raise(Target::Pattern(KeyPattern::new("users:*"))));
    assert!(!turn.ticket().is_fenced());
}

#[test]
fn two_fences_over_one_key_stand_until_both_are_down() {
    let flights = Flights::new(Guards::default());
    let first = flights.raise(Target::Key(key()));
    let second = flights.raise(Target::Key(key()));
    drop(first);
    let turn = lead(&flights);
    assert!(turn.ticket().is_fenced());
    drop((turn, second));
    assert!(flights.is_idle());
}

#[test]
fn a_refresh_voids_what_was_under_way() {
    let flights = Flights::new(Guards::default());
    let old = lead(&flights);
    let new = flights.supersede(&key(), TYPE(), &TagSet::EMPTY, true);
    assert!(old.ticket().is_fenced() && !new.ticket().is_fenced());
    let normal = lead(&flights);
    assert_ne!(
        normal.ticket().flight_id(),
        new.ticket().flight_id(),
        "it is not waited for"
    );
}

#[test]
fn the_last_one_to_leave_gives_the_lease_back() {
    let flights = Flights::new(Guards::default());
    let given_back = Arc::new(AtomicU64::new(0));
    flights.on_orphaned({
        let given_back = Arc::clone(&given_back);
        move |_, _| {
            given_back.fetch_add(1, Ordering::SeqCst);
        }
    });
    let turn = lead(&flights);
    turn.ticket().leased().store(true, Ordering::SeqCst);
    let follower = follow(&flights);
    drop(turn);
    assert_eq!(
        given_back.load(Ordering::SeqCst),
        0,
        "a follower goes on under it"
    );
    drop(follower);
    assert_eq!(given_back.load(Ordering::SeqCst), 1);
}

/// Threads load and invalidate one key; a version counter stands for the database. What is stored must never be older
/// than the last invalidation that had returned.
#[test]
fn nothing_older_than_an_invalidation_is_ever_stored() {
    let flights = Flights::new(Guards::default());
    let database = AtomicU64::new(0);
    let stored: Mutex<Option<u64>> = Mutex::new(None);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if let Joined::Lead(turn) = flights.join(&key(), TYPE(), &TagSet::EMPTY) {
                        let loaded = database.load(Ordering::SeqCst);
                        std::thread::yield_now();
                        turn.ticket().store(|_| *lock_plain(&stored) = Some(loaded));
                        drop(turn.land(value(0)));
                    }
                }
            });
        }
        for round in 0..20_000 {
            let version = database.fetch_add(1, Ordering::SeqCst) + 1;
            let target = if round % 2 == 0 {
                Target::Key(key())
            } else {
                Target::Pattern(KeyPattern::new("user:*"))
            };
            let fence = flights.raise(target);
            *lock_plain(&stored) = None;
            drop(fence);
            let found = *lock_plain(&stored);
            assert!(
                found.is_none_or(|found| found >= version),
                "{found:?} came back after {version}"
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(flights.is_idle());
}

fn lock_plain<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
