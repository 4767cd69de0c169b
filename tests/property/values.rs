//! What is stored comes back, through memory and through Redis.

use std::collections::BTreeMap;

use dexter_cache::{Cache, Key, Ttl};
use proptest::prelude::*;
use support::RedisServer;

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Value {
    text: String,
    number: i64,
    large: u64,
    ratio: f64,
    flag: Option<bool>,
    bytes: Vec<u8>,
    map: BTreeMap<String, Kind>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
enum Kind {
    Unit,
    One(String),
    Many { of: Vec<char> },
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unit),
        any::<String>().prop_map(Kind::One),
        proptest::collection::vec(any::<char>(), 0..5).prop_map(|of| Kind::Many { of }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let finite =
        any::<f64>().prop_filter("JSON has finite numbers only", |ratio| ratio.is_finite());
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let map = proptest::collection::btree_map(any::<String>(), kind(), 0..5);
    (
        any::<String>(),
        any::<i64>(),
        any::<u64>(),
        finite,
        any::<Option<bool>>(),
        bytes,
        map,
    )
        .prop_map(|(text, number, large, ratio, flag, bytes, map)| Value {
            text,
            number,
            large,
            ratio,
            flag,
            bytes,
            map,
        })
}

fn there_and_back(
    cache: &Cache,
    runtime: &tokio::runtime::Runtime,
    value: &Value,
) -> Option<Value> {
    let key = Key::new("values").part("text", &value.text);
    runtime.block_on(async {
        cache
            .set(&key, value, Ttl::secs(60))
            .await
            .expect("it can be written");
        cache.get(&key).await.expect("a read never fails")
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn what_is_stored_comes_back() {
    let server = RedisServer::start();
    let runtime = runtime();
    let memory = Cache::memory();
    let redis = Cache::builder()
        .redis(server.url())
        .budget(std::time::Duration::from_secs(30))
        .build();
    let redis = runtime.block_on(redis).expect("a good address");
    proptest!(ProptestConfig::with_cases(500), |(value in value())| {
        let back = there_and_back(&memory, &runtime, &value);
        prop_assert_eq!(back.as_ref(), Some(&value));
        let back = there_and_back(&redis, &runtime, &value);
        prop_assert_eq!(back.as_ref(), Some(&value));
    });
    assert_eq!(redis.stats().total.unusable, 0);
}
