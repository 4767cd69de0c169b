use std::sync::Arc;
use std::time::Duration;

use crate::backend::{SetOutcome, When};
use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::fixture::{
    Backend, LONG, Names, get, gone, needs_compare_and_set, remove, remove_matching, set, set_when,
};

const RACERS: usize = 12;
const ROUNDS: usize = 30;

pub async fn absent_writes_only_into_a_hole(backend: Backend) {
    needs_compare_and_set!(backend);
    let key = Names::new().key("a");
    let first = set_when(&backend, &key, "first", LONG, When::Absent).await;
    assert_eq!(first, SetOutcome::Stored);
    let second = set_when(
        &backend,
        &key,
        "second",
        Duration::from_millis(1),
        When::Absent,
    )
    .await;
    assert_eq!(second, SetOutcome::Refused(Some(Bytes::from("first"))));
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("first")));
    remove(&backend, std::slice::from_ref(&key)).await;
    let third = set_when(
        &backend,
        &key,
        "third",
        Duration::from_millis(20),
        When::Absent,
    )
    .await;
    assert_eq!(third, SetOutcome::Stored);
    // The TTL is that of the write.
    gone(&backend, &key).await;
}

pub async fn matches_compares_the_beginning(backend: Backend) {
    needs_compare_and_set!(backend);
    let key = Names::new().key("a");
    set(&backend, &key, "lease:42;").await;
    for no in ["lease:43;", "ease:42;", "lease:42;x", "LEASE:42;"] {
        let matches = When::Matches(no.as_bytes());
        let outcome = set_when(&backend, &key, "no", LONG, matches).await;
        assert_eq!(outcome, SetOutcome::Refused(None), "{no}");
    }
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("lease:42;")));
    let mut current = "lease:42;";
    for (beginning, next) in [
        ("lease:42;", "1-a"),
        ("1-", "2-b"),
        ("2-b", "3-c"),
        ("", "4-d"),
    ] {
        let matches = When::Matches(beginning.as_bytes());
        let outcome = set_when(&backend, &key, next, LONG, matches).await;
        assert_eq!(outcome, SetOutcome::Stored, "{beginning} of {current}");
        assert_eq!(get(&backend, &key).await, Some(Bytes::from(next)));
        current = next;
    }
    let ends = set_when(
        &backend,
        &key,
        "x",
        Duration::from_millis(20),
        When::Matches(b"4"),
    )
    .await;
    assert_eq!(ends, SetOutcome::Stored);
    gone(&backend, &key).await;
}

pub async fn matches_needs_a_value_that_is_long_enough(backend: Backend) {
    needs_compare_and_set!(backend);
    let key = Names::new().key("a");
    for value in ["lea", ""] {
        set(&backend, &key, value).await;
        let outcome = set_when(&backend, &key, "x", LONG, When::Matches(b"lease")).await;
        assert_eq!(outcome, SetOutcome::Refused(None));
        assert_eq!(get(&backend, &key).await, Some(Bytes::from(value)));
    }
}

pub async fn matches_fails_where_nothing_is(backend: Backend) {
    needs_compare_and_set!(backend);
    let key = Names::new().key("a");
    for beginning in [&b"lease"[..], b""] {
        let outcome = set_when(&backend, &key, "x", LONG, When::Matches(beginning)).await;
        assert_eq!(outcome, SetOutcome::Refused(None), "{beginning:?}");
        assert_eq!(get(&backend, &key).await, None);
    }
}

pub async fn matches_compares_bytes_not_text(backend: Backend) {
    needs_compare_and_set!(backend);
    let key = Names::new().key("a");
    let token = [0, 255, 13, 10, 0, 37, 128];
    set(&backend, &key, [&token[..], b"rest"].concat()).await;
    let other = [0, 255, 13, 10, 0, 37, 129];
    let outcome = set_when(&backend, &key, "x", LONG, When::Matches(&other)).await;
    assert_eq!(outcome, SetOutcome::Refused(None));
    let outcome = set_when(&backend, &key, "x", LONG, When::Matches(&token)).await;
    assert_eq!(outcome, SetOutcome::Stored);
}

pub async fn a_removal_voids_what_matches_would_have_met(backend: Backend) {
    needs_compare_and_set!(backend);
    let names = Names::new();
    let key = names.key("a");
    for by_pattern in [false, true] {
        set(&backend, &key, "lease").await;
        if by_pattern && backend.capabilities().remove_matching {
            remove_matching(&backend, &names.pattern("*")).await;
        } else {
            remove(&backend, std::slice::from_ref(&key)).await;
        }
        let outcome = set_when(&backend, &key, "x", LONG, When::Matches(b"lease")).await;
        assert_eq!(outcome, SetOutcome::Refused(None));
    }
}

pub async fn of_many_that_race_for_a_hole_one_wins(backend: Backend) {
    needs_compare_and_set!(backend);
    let names = Names::new();
    for round in 0..ROUNDS {
        let key = names.key(round.to_string());
        let outcomes = race(&backend, &key, When::Absent).await;
        let winner = only_winner(&outcomes);
        assert_eq!(get(&backend, &key).await, Some(winner.clone()));
        for (_, outcome) in outcomes {
            if outcome != SetOutcome::Stored {
                assert_eq!(outcome, SetOutcome::Refused(Some(winner.clone())));
            }
        }
    }
}

pub async fn of_many_that_race_for_a_value_one_wins(backend: Backend) {
    needs_compare_and_set!(backend);
    let names = Names::new();
    for round in 0..ROUNDS {
        let key = names.key(round.to_string());
        set(&backend, &key, "lease-1").await;
        let outcomes = race(&backend, &key, When::Matches(b"lease-")).await;
        let winner = only_winner(&outcomes);
        assert_eq!(get(&backend, &key).await, Some(winner));
    }
}

/// Many tasks set values of their own at once; the values and what became of them.
async fn race(backend: &Backend, key: &str, when: When<'static>) -> Vec<(Bytes, SetOutcome)> {
    let start = Arc::new(Barrier::new(RACERS));
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let (backend, key, start) = (backend.clone(), key.to_owned(), start.clone());
        racers.spawn(async move {
            let value = Bytes::from(format!("racer {racer}"));
            start.wait().await;
            let outcome = set_when(&backend, &key, value.clone(), LONG, when).await;
            (value, outcome)
        });
    }
    racers.join_all().await
}

fn only_winner(outcomes: &[(Bytes, SetOutcome)]) -> Bytes {
    let mut winners = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == SetOutcome::Stored);
    let (winner, _) = winners.next().expect("somebody wins");
    assert_eq!(winners.next(), None, "nobody else wins");
    winner.clone()
}

pub async fn compare_and_set_loses_no_step(backend: Backend) {
    needs_compare_and_set!(backend);
    let key = Names::new().key("count");
    set(&backend, &key, number(0)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (backend, key) = (backend.clone(), key.clone());
        tasks.spawn(async move {
            for _ in 0..50 {
                loop {
                    let current = get(&backend, &key).await.expect("a number");
                    let text = std::str::from_utf8(&current).expect("digits");
                    let next = number(text.parse::<u32>().expect("digits") + 1);
                    let when = When::Matches(&current);
                    if set_when(&backend, &key, next, LONG, when).await == SetOutcome::Stored {
                        break;
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(get(&backend, &key).await, Some(Bytes::from(number(200))));
}

/// Of one length, so that none is the beginning of another.
fn number(number: u32) -> String {
    format!("{number:08}")
}
