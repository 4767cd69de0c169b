use crate::backend::{SetOutcome, When};
use bytes::Bytes;

use super::fixture::{Backend, LONG, Names, get, get_many, remove, set, set_when};

pub async fn the_empty_value_is_a_value(backend: Backend) {
    let names = Names::new();
    let key = names.key("a");
    set(&backend, &key, "").await;
    assert_eq!(get(&backend, &key).await, Some(Bytes::new()));
    let many = get_many(&backend, &[key.clone(), names.key("b")]).await;
    assert_eq!(many, [Some(Bytes::new()), None]);
    if backend.capabilities().compare_and_set {
        let refused = set_when(&backend, &key, "x", LONG, When::Absent).await;
        assert_eq!(refused, SetOutcome::Refused(Some(Bytes::new())));
    }
    assert_eq!(remove(&backend, &[key]).await, 1);
}

pub async fn every_byte_comes_back(backend: Backend) {
    let key = Names::new().key("a");
    let value: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    set(&backend, &key, value.clone()).await;
    assert_eq!(get(&backend, &key).await, Some(Bytes::from(value)));
}

pub async fn a_mebibyte_comes_back(backend: Backend) {
    let key = Names::new().key("a");
    let value: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    assert_eq!(value.len(), 1 << 20);
    set(&backend, &key, value.clone()).await;
    assert!(
        get(&backend, &key)
            .await
            .is_some_and(|found| found == value)
    );
}

/// What a protocol, a shell, a glob or a C string might trip over.
const ODD: [&str; 24] = [
    "",
    " ",
    "a b",
    "*",
    "?",
    "[a]",
    "[^a]",
    "\\",
    "a\\*",
    "{tag}",
    "%",
    "%25",
    "'",
    "\"",
    "a:b",
    "a=b&c=d,e",
    "\r\n",
    "$3\r\nfoo\r\n",
    "\0",
    "a\0b",
    "\t",
    "\u{7f}",
    "käse·奶酪·🧀",
    "\u{2028}\u{feff}",
];

pub async fn keys_may_hold_any_character(backend: Backend) {
    let names = Names::new();
    let keys = ODD.map(|odd| names.key(odd));
    for key in &keys {
        set(&backend, key, key.clone()).await;
    }
    for key in &keys {
        assert_eq!(
            get(&backend, key).await,
            Some(Bytes::from(key.clone())),
            "{key:?}"
        );
    }
    for (found, key) in get_many(&backend, &keys).await.iter().zip(&keys) {
        assert_eq!(found.as_deref(), Some(key.as_bytes()));
    }
    for key in keys {
        assert_eq!(
            remove(&backend, std::slice::from_ref(&key)).await,
            1,
            "{key:?}"
        );
        assert_eq!(get(&backend, &key).await, None, "{key:?}");
    }
}

pub async fn keys_may_be_long(backend: Backend) {
    let names = Names::new();
    let long = "k".repeat(5_000);
    let (one, two) = (names.key(format!("{long}1")), names.key(format!("{long}2")));
    set(&backend, &one, "one").await;
    assert_eq!(get(&backend, &two).await, None);
    assert_eq!(get(&backend, &one).await, Some(Bytes::from("one")));
}

pub async fn keys_that_look_alike_are_different(backend: Backend) {
    let names = Names::new();
    // The last two look the same and are different characters.
    let keys = ["a", "A", "a ", " a", "a\0", "aa", "é", "e\u{301}"].map(|name| names.key(name));
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(get(&backend, key).await, None);
        set(&backend, key, i.to_string()).await;
    }
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(get(&backend, key).await, Some(Bytes::from(i.to_string())));
    }
}
