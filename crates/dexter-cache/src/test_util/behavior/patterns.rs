use crate::KeyPattern;
use bytes::Bytes;

use super::fixture::{Backend, Names, get, get_many, needs_patterns, remove_matching, set};

/// Sets `names`, removes by `pattern`, and returns how many were counted and which are left.
async fn left(backend: &Backend, names: &[&str], pattern: &str) -> (u64, Vec<String>) {
    let own = Names::new();
    let keys: Vec<_> = names.iter().map(|name| own.key(name)).collect();
    for key in &keys {
        set(backend, key, "1").await;
    }
    let removed = remove_matching(backend, &own.pattern(pattern)).await;
    let found = get_many(backend, &keys).await;
    let left = names
        .iter()
        .zip(found)
        .filter_map(|(name, found)| found.map(|_| (*name).to_owned()));
    (removed, left.collect())
}

pub async fn a_pattern_removes_what_it_matches(backend: Backend) {
    needs_patterns!(backend);
    let names = ["users:1", "users:2", "usersAbc:1", "users", "other:users:1"];
    let (removed, left) = left(&backend, &names, "users:*").await;
    assert_eq!(removed, 2);
    assert_eq!(left, ["usersAbc:1", "users", "other:users:1"]);
}

pub async fn a_pattern_without_wildcards_is_one_key(backend: Backend) {
    needs_patterns!(backend);
    let names = ["a:1", "a:12", "a:", "b:a:1"];
    let (removed, left) = left(&backend, &names, "a:1").await;
    assert_eq!((removed, left.len()), (1, 3));
    assert!(!left.contains(&"a:1".to_owned()));
}

pub async fn an_escaped_key_is_that_key_alone(backend: Backend) {
    needs_patterns!(backend);
    let names = [
        "ab", "a*", "a**", "a?", "a[b]", "a[^c]", "a[", "a]", "a\\", "a\\*", "a\\\\", "a-", "a^",
        "a{b}", "a b", "a\r\n", "aé", "a\0",
    ];
    for name in names {
        let (removed, left) = left(&backend, &names, &KeyPattern::escape(name)).await;
        assert_eq!((removed, left.len()), (1, names.len() - 1), "{name:?}");
        assert!(!left.iter().any(|left| left == name), "{name:?}");
    }
}

pub async fn classes_and_single_characters(backend: Backend) {
    needs_patterns!(backend);
    let names = ["a1", "a2", "a3", "b1", "a", "a11", "a*"];
    for (pattern, expected) in [
        ("a?", 4),
        ("[ab]1", 2),
        ("a[1-2]", 2),
        ("a[^1-2]", 2),
        ("a\\*", 1),
        ("*1", 3),
        ("a*", 6),
        ("*", 7),
    ] {
        let (removed, left) = left(&backend, &names, pattern).await;
        assert_eq!(removed, expected, "{pattern}");
        assert_eq!(
            left.len() as u64,
            names.len() as u64 - expected,
            "{pattern}"
        );
    }
}

pub async fn only_what_the_filter_lets_pass_goes(backend: Backend) {
    needs_patterns!(backend);
    let names = Names::new();
    let keys = ["mine:1", "mine:2", "theirs:1"].map(|name| names.key(name));
    for key in &keys {
        set(&backend, key, "1").await;
    }
    let mine = names.key("mine:");
    let filter = |key: &[u8]| key.starts_with(mine.as_bytes());
    let everything = names.pattern("*");
    let removed = backend.remove_matching(&everything, Some(&filter)).await;
    assert_eq!(removed.expect("remove_matching"), 2);
    let left = get_many(&backend, &keys).await;
    assert_eq!(left, [None, None, Some(Bytes::from("1"))]);

    let nothing = |_: &[u8]| false;
    let removed = backend.remove_matching(&everything, Some(&nothing)).await;
    assert_eq!(removed.expect("remove_matching"), 0);
    assert!(get(&backend, &keys[2]).await.is_some());
}

pub async fn thousands_of_keys_go_in_one_call(backend: Backend) {
    needs_patterns!(backend);
    let names = Names::new();
    let keys: Vec<_> = (0..5_000).map(|i| names.key(format!("gone:{i}"))).collect();
    let kept: Vec<_> = (0..500).map(|i| names.key(format!("kept:{i}"))).collect();
    for key in keys.iter().chain(&kept) {
        set(&backend, key, "1").await;
    }
    assert_eq!(
        remove_matching(&backend, &names.pattern("gone:*")).await,
        5_000
    );
    assert!(get_many(&backend, &keys).await.iter().all(Option::is_none));
    assert!(get_many(&backend, &kept).await.iter().all(Option::is_some));
    assert_eq!(remove_matching(&backend, &names.pattern("gone:*")).await, 0);
}

pub async fn keys_written_meanwhile_do_not_save_the_others(backend: Backend) {
    needs_patterns!(backend);
    let names = Names::new();
    let before: Vec<_> = (0..2_000).map(|i| names.key(format!("a:{i}"))).collect();
    for key in &before {
        set(&backend, key, "old").await;
    }
    let writer = tokio::spawn({
        let (backend, names) = (backend.clone(), names.clone());
        async move {
            for i in 0..1_000 {
                set(&backend, &names.key(format!("a:new:{i}")), "new").await;
                set(&backend, &names.key(format!("b:{i}")), "other").await;
            }
        }
    });
    let removed = remove_matching(&backend, &names.pattern("a:*")).await;
    writer.await.expect("the writer");

    assert!((2_000..=3_000).contains(&removed), "{removed}");
    assert!(
        get_many(&backend, &before)
            .await
            .iter()
            .all(Option::is_none)
    );
    let other: Vec<_> = (0..1_000).map(|i| names.key(format!("b:{i}"))).collect();
    assert!(get_many(&backend, &other).await.iter().all(Option::is_some));
    // Every key was either counted or is still there.
    let rest = remove_matching(&backend, &names.pattern("a:*")).await;
    assert_eq!(removed + rest, 3_000);
}

pub async fn a_pattern_that_matches_nothing_removes_nothing(backend: Backend) {
    needs_patterns!(backend);
    let names = ["a", "b"];
    for pattern in ["c*", "", "[", "a\\", "[]", "A", "a?"] {
        let (removed, left) = left(&backend, &names, pattern).await;
        let matching = names
            .iter()
            .filter(|name| KeyPattern::new(pattern).matches(name.as_bytes()))
            .count();
        assert_eq!(removed, matching as u64, "{pattern:?}");
        assert_eq!(left.len(), names.len() - matching, "{pattern:?}");
    }
}
