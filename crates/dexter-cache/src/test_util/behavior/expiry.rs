//! Time is the backend's own here. The tests wait for events, and judge them by what must have been before and after.

use std::time::{Duration, Instant};

use crate::backend::{SetOutcome, When};
use bytes::Bytes;

use super::fixture::{
    Backend, LONG, Names, get, get_many, gone, remove, remove_matching, set_for, set_when,
};

/// Servers count whole milliseconds, and cut off the rest when they take the time.
const ROUNDING: Duration = Duration::from_millis(2);

/// "A few milliseconds".
const LATE: Duration = Duration::from_millis(20);

pub async fn gone_after_its_ttl_and_never_before(backend: Backend) {
    let names = Names::new();
    for ttl in [5, 50, 130].map(Duration::from_millis) {
        let key = names.key(format!("{ttl:?}"));
        let before = Instant::now();
        set_for(&backend, &key, "value", ttl).await;
        let after = Instant::now();
        loop {
            let asked = Instant::now();
            if get(&backend, &key).await.is_none() {
                assert!(
                    before.elapsed() + ROUNDING >= ttl,
                    "early: {:?}",
                    before.elapsed()
                );
                break;
            }
            let late = (asked - after).saturating_sub(ttl);
            assert!(late <= LATE, "{late:?} late");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
}

pub async fn a_set_begins_the_ttl_anew(backend: Backend) {
    let key = Names::new().key("a");
    set_for(&backend, &key, "old", Duration::from_millis(40)).await;
    set_for(&backend, &key, "new", LONG).await;
    let witness = Names::new().key("witness");
    set_for(&backend, &witness, "", Duration::from_millis(80)).await;
    gone(&backend, &witness).await;
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("new")));
}

pub async fn a_later_set_may_shorten_the_ttl(backend: Backend) {
    let key = Names::new().key("a");
    set_for(&backend, &key, "old", LONG).await;
    set_for(&backend, &key, "new", Duration::from_millis(10)).await;
    gone(&backend, &key).await;
}

pub async fn a_ttl_below_a_millisecond_counts_as_one(backend: Backend) {
    let names = Names::new();
    for ttl in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(999),
    ] {
        let key = names.key(format!("{ttl:?}"));
        set_for(&backend, &key, "value", ttl).await;
        gone(&backend, &key).await;
        // A value that was there does not stay either.
        set_for(&backend, &key, "old", LONG).await;
        set_for(&backend, &key, "new", ttl).await;
        gone(&backend, &key).await;
    }
}

pub async fn a_ttl_of_ages_is_no_overflow(backend: Backend) {
    let names = Names::new();
    let ages = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_millis(u64::MAX),
        Duration::from_nanos(u64::MAX),
        Duration::from_secs(1 << 40),
        Duration::from_secs(100 * 365 * 86_400),
    ];
    for ttl in ages {
        let key = names.key(format!("{ttl:?}"));
        set_for(&backend, &key, "value", ttl).await;
        assert_eq!(
            get(&backend, &key).await,
            Some(Bytes::from("value")),
            "{ttl:?}"
        );
    }
}

pub async fn what_has_expired_counts_as_absent_everywhere(backend: Backend) {
    let names = Names::new();
    let keys = ["a", "b", "c", "d"].map(|name| names.key(name));
    for key in &keys {
        set_for(&backend, key, "value", Duration::from_millis(10)).await;
    }
    // All others expired before the last one, or with it; only that one is ever read.
    gone(&backend, &keys[3]).await;
    assert_eq!(get_many(&backend, &keys[..1]).await, [None]);
    assert_eq!(remove(&backend, &keys[..1]).await, 0);
    if backend.capabilities().remove_matching {
        assert_eq!(remove_matching(&backend, &names.pattern("b*")).await, 0);
    }
    if backend.capabilities().compare_and_set {
        let matches = When::Matches(b"val");
        let refused = set_when(&backend, &keys[2], "new", LONG, matches).await;
        assert_eq!(refused, SetOutcome::Refused(None));
        let stored = set_when(&backend, &keys[2], "new", LONG, When::Absent).await;
        assert_eq!(stored, SetOutcome::Stored);
        assert_eq!(get(&backend, &keys[2]).await, Some(Bytes::from("new")));
    }
}
