use bytes::Bytes;

use super::fixture::{Backend, Names, get, get_many, set};

pub async fn what_was_set_is_found(backend: Backend) {
    let key = Names::new().key("a");
    set(&backend, &key, "value").await;
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("value")));
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("value")));
}

pub async fn what_was_never_set_is_absent(backend: Backend) {
    assert_eq!(get(&backend, &Names::new().key("a")).await, None);
}

pub async fn the_last_of_two_sets_counts(backend: Backend) {
    let key = Names::new().key("a");
    set(&backend, &key, "a longer value").await;
    set(&backend, &key, "short").await;
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("short")));
}

pub async fn get_many_keeps_order_holes_and_duplicates(backend: Backend) {
    let names = Names::new();
    set(&backend, &names.key("1"), "one").await;
    set(&backend, &names.key("3"), "three").await;
    let keys = ["3", "2", "1", "3"].map(|name| names.key(name));
    let expected = [Some("three"), None, Some("one"), Some("three")];
    assert_eq!(
        get_many(&backend, &keys).await,
        expected.map(|value| value.map(Bytes::from))
    );
}

pub async fn get_many_of_nothing_is_nothing(backend: Backend) {
    assert!(get_many(&backend, &[]).await.is_empty());
}

pub async fn get_many_takes_more_keys_than_a_command_should(backend: Backend) {
    let names = Names::new();
    let keys: Vec<_> = (0..1_203).map(|i| names.key(i.to_string())).collect();
    for key in keys.iter().step_by(3) {
        set(&backend, key, key.clone()).await;
    }
    let found = get_many(&backend, &keys).await;
    assert_eq!(found.len(), keys.len());
    for (i, (found, key)) in found.into_iter().zip(keys).enumerate() {
        assert_eq!(found, (i % 3 == 0).then(|| Bytes::from(key)));
    }
}

pub async fn ping_answers_and_disturbs_nothing(backend: Backend) {
    let key = Names::new().key("a");
    set(&backend, &key, "value").await;
    let first = backend.ping().await.expect("ping");
    let second = backend.ping().await.expect("ping");
    assert_eq!(first.run_id, second.run_id);
    assert!(first.clock_ms <= second.clock_ms);
    assert_eq!(get(&backend, &key).await, Some(Bytes::from("value")));
    assert!(!backend.name().is_empty());
}
