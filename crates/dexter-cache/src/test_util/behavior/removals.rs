use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::backend::When;
use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::fixture::{Backend, LONG, Names, get, remove, set};

pub async fn a_removed_key_is_absent(backend: Backend) {
    let names = Names::new();
    let (a, b) = (names.key("a"), names.key("b"));
    set(&backend, &a, "1").await;
    set(&backend, &b, "2").await;
    remove(&backend, std::slice::from_ref(&a)).await;
    assert_eq!(get(&backend, &a).await, None);
    assert_eq!(get(&backend, &b).await, Some(Bytes::from("2")));
    set(&backend, &a, "3").await;
    assert_eq!(get(&backend, &a).await, Some(Bytes::from("3")));
}

pub async fn remove_counts_what_was_there(backend: Backend) {
    let names = Names::new();
    let keys = ["a", "b", "c"].map(|name| names.key(name));
    set(&backend, &keys[0], "1").await;
    set(&backend, &keys[2], "1").await;
    assert_eq!(remove(&backend, &keys).await, 2);
    assert_eq!(remove(&backend, &keys).await, 0);
}

pub async fn remove_counts_a_key_once(backend: Backend) {
    let key = Names::new().key("a");
    set(&backend, &key, "1").await;
    assert_eq!(remove(&backend, &[key.clone(), key.clone(), key]).await, 1);
}

pub async fn remove_of_nothing_is_zero(backend: Backend) {
    assert_eq!(remove(&backend, &[]).await, 0);
    assert_eq!(remove(&backend, &[Names::new().key("a")]).await, 0);
}

pub async fn remove_takes_more_keys_than_a_command_should(backend: Backend) {
    let names = Names::new();
    let keys: Vec<_> = (0..1_203).map(|i| names.key(i.to_string())).collect();
    for key in keys.iter().step_by(3) {
        set(&backend, key, "1").await;
    }
    assert_eq!(remove(&backend, &keys).await, 401);
}

pub async fn of_many_that_remove_a_key_one_counts_it(backend: Backend) {
    let key = Names::new().key("a");
    for _ in 0..30 {
        set(&backend, &key, "1").await;
        let start = Arc::new(Barrier::new(8));
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (backend, key, start) = (backend.clone(), key.clone(), start.clone());
            tasks.spawn(async move {
                start.wait().await;
                remove(&backend, &[key]).await
            });
        }
        assert_eq!(tasks.join_all().await.iter().sum::<u64>(), 1);
    }
}

pub async fn a_dropped_set_happened_or_did_not(backend: Backend) {
    let names = Names::new();
    for round in 0..50 {
        let key = names.key(round.to_string());
        set(&backend, &key, "old").await;
        {
            let mut writing = pin!(backend.set(&key, "new".into(), LONG, When::Always));
            let _ = writing
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        let found = get(&backend, &key).await.expect("one of the two");
        assert!(found == "old" || found == "new", "{found:?}");
        // What the dropped call left behind does not hold up or overtake what follows.
        set(&backend, &key, "last").await;
        assert_eq!(get(&backend, &key).await, Some(Bytes::from("last")));
    }
}
