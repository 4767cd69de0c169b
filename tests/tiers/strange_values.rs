//! What may lie under a key: a miss at worst, counted, never an error.

use dexter_cache::{Cache, Counts, Key};
use support::RedisServer;
use tokio::task::block_in_place;

use crate::{MINUTE, key, patient, soon, until};

const GARBAGE: [&[u8]; 6] = [
    b"",
    b"x",
    b"{\"id\":7}",
    b"\xDC\x58",
    b"\xDC\x58\x01\x01 too short for a header",
    &[0xFF; 5000],
];

struct Strange {
    server: RedisServer,
    cache: Cache,
    key: Key,
}

impl Strange {
    async fn start() -> Self {
        let server = RedisServer::start();
        let cache = patient(&server).await;
        Self {
            server,
            cache,
            key: key("strange", 1),
        }
    }

    fn counts(&self) -> Counts {
        self.cache.stats().prefix("strange")
    }

    fn put(&self, bytes: &[u8]) {
        let reply = block_in_place(|| {
            self.server
                .call(&[b"SET".as_slice(), self.key.as_str().as_bytes(), bytes])
        });
        assert_eq!(reply.to_string(), "OK");
    }

    fn raw(&self) -> Vec<u8> {
        match block_in_place(|| self.server.call(&["GET", self.key.as_str()])) {
            support::Reply::Bulk(bytes) => bytes,
            other => panic!("no value but {other:?}"),
        }
    }

    async fn load(&self, value: u32) -> u32 {
        self.cache
            .get_or_load(&self.key, MINUTE, || async { value })
            .await
    }

    /// What lies there is a miss for every kind of read, and is counted each time; a load overwrites it.
    async fn assert_is_a_miss_and_overwritten(&self, what: &str) {
        let before = self.counts();
        assert_eq!(
            self.cache.get::<u32>(&self.key).await.unwrap(),
            None,
            "{what}"
        );
        let keys = [self.key.clone(), key("strange", 99)];
        let found = self.cache.get_many::<u32>(&keys).await.unwrap();
        assert_eq!(found, [None, None], "{what}");
        assert!(
            self.counts().unusable > before.unusable,
            "{what} is counted"
        );
        let before = self.counts();
        assert_eq!(self.load(5).await, 5, "{what}");
        assert_eq!(
            self.counts().unusable,
            before.unusable + 1,
            "{what} is counted once by a load"
        );
        until("the load is stored", || {
            self.counts().stored > before.stored
        })
        .await;
        assert_eq!(self.load(6).await, 5, "{what} is overwritten");
        assert_eq!(self.cache.get::<u32>(&self.key).await.unwrap(), Some(5));
        let removed = self.cache.remove(&self.key).await.unwrap();
        assert_eq!(removed.removed, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_14_garbage_is_a_miss_and_overwritten() {
    let strange = Strange::start().await;
    for bytes in GARBAGE {
        strange.put(bytes);
        strange
            .assert_is_a_miss_and_overwritten(&format!("{:?}", bytes.escape_ascii().to_string()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_another_type() {
    let strange = Strange::start().await;
    let text = "5".to_owned();
    strange
        .cache
        .set(&strange.key, &text, MINUTE)
        .await
        .unwrap();
    strange.assert_is_a_miss_and_overwritten("a string").await;
    strange
        .cache
        .set(&strange.key, &5_u64, MINUTE)
        .await
        .unwrap();
    strange
        .assert_is_a_miss_and_overwritten("a wider number")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_envelope_and_a_broken_payload() {
    let strange = Strange::start().await;
    strange
        .cache
        .set(&strange.key, &5_u32, MINUTE)
        .await
        .unwrap();
    let good = strange.raw();
    let mut newer = good.clone();
    newer[2] = 2;
    strange.put(&newer);
    strange
        .assert_is_a_miss_and_overwritten("a newer envelope")
        .await;
    let mut unknown_codec = good.clone();
    unknown_codec[3] = 9;
    strange.put(&unknown_codec);
    strange
        .assert_is_a_miss_and_overwritten("an unknown codec")
        .await;
    for payload in [&b""[..], b"nonsense", b"-1", b"5 5"] {
        strange.put(&[&good[..74], payload].concat());
        strange
            .assert_is_a_miss_and_overwritten("a payload that is none")
            .await;
    }
    strange.put(&good);
    assert_eq!(strange.load(6).await, 5, "the bytes as they were are good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_under_the_key() {
    let strange = Strange::start().await;
    let name = strange.key.as_str();
    for make in [
        ["RPUSH", name, "x"],
        ["SADD", name, "x"],
        ["PFADD", name, "x"],
    ] {
        block_in_place(|| strange.server.call(&make));
        let before = strange.counts();
        assert_eq!(strange.cache.get::<u32>(&strange.key).await.unwrap(), None);
        assert_eq!(strange.load(5).await, 5);
        assert!(strange.counts().unusable >= before.unusable + 2, "{make:?}");
        until("the load is stored", || {
            strange.counts().stored > before.stored
        })
        .await;
        assert_eq!(strange.load(6).await, 5);
        block_in_place(|| strange.server.cli(&["DEL", name]));
        block_in_place(|| strange.server.call(&make));
        strange
            .cache
            .set(&strange.key, &8_u32, MINUTE)
            .await
            .unwrap();
        assert_eq!(strange.load(6).await, 8, "a set overwrites it");
        let _ = strange.cache.remove(&strange.key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_mebibytes_are_answered_and_not_stored() {
    let strange = Strange::start().await;
    let big = || "x".repeat(2 << 20);
    let other = patient(&strange.server).await;
    for round in 1..=2 {
        let value = strange
            .cache
            .get_or_load(&strange.key, MINUTE, || async { big() })
            .await;
        assert_eq!(value.len(), 2 << 20);
        assert_eq!(strange.counts().too_large, round);
        assert_eq!(strange.counts().loads, round, "it is loaded each time");
        // Its lease is given back: nobody waits for what will not come.
        let name = strange.key.as_str();
        until("nothing is left under the key", || {
            block_in_place(|| strange.server.cli(&["EXISTS", name])) == "0"
        })
        .await;
    }
    let elsewhere = other.get_or_load(&strange.key, MINUTE, || async { big() });
    soon("another process waits for a lease of nobody", elsewhere).await;

    let small = "small".to_owned();
    strange
        .cache
        .set(&strange.key, &small, MINUTE)
        .await
        .unwrap();
    strange
        .cache
        .set(&strange.key, &big(), MINUTE)
        .await
        .unwrap();
    assert_eq!(strange.counts().too_large, 3);
    let found = strange.cache.get::<String>(&strange.key).await.unwrap();
    assert_eq!(found, None, "a value that was replaced is not read again");
}
