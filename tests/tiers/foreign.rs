//! What somebody else has written stays, whatever this library removes.

use dexter_cache::{Cache, KeyPattern, Reach};
use support::{Proxy, RedisServer};
use tokio::task::block_in_place;

use crate::{BOUND, MINUTE, break_off, key, patient_builder, ready, until, until_back, until_lost};

/// More removals than the journal holds.
const TOO_MANY: u32 = 10_050;

const FOREIGN: [&str; 6] = [
    "session:1",
    "session",
    // Neighbours of the prefix and of the namespace.
    "issues2:id=1",
    "iss",
    "dexter2:issues:id=1",
    "other:issues:id=1",
];

struct Shared {
    server: RedisServer,
    proxy: Proxy,
    cache: Cache,
    /// Sees what there is, and changes nothing.
    reader: Cache,
}

impl Shared {
    /// A server with keys of others and twenty own ones.
    async fn start(namespace: Option<&str>) -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::start(server.port());
        let mut builder = patient_builder(&proxy.url());
        if let Some(namespace) = namespace {
            builder = builder.namespace(namespace);
        }
        let cache = ready(builder).await;
        let mut builder = patient_builder(&server.url());
        if let Some(namespace) = namespace {
            builder = builder.namespace(namespace);
        }
        let reader = ready(builder).await;
        for name in FOREIGN {
            server.cli(&["SET", name, "theirs"]);
        }
        server.cli(&["RPUSH", "queue:mail", "a", "b"]);
        for id in 0..20 {
            cache.set(&key("issues", id), &id, MINUTE).await.unwrap();
        }
        let shared = Self {
            server,
            proxy,
            cache,
            reader,
        };
        assert_eq!(shared.own().await, 20);
        shared
    }

    /// How many of the twenty there are for those who ask.
    async fn own(&self) -> usize {
        let keys: Vec<_> = (0..20).map(|id| key("issues", id)).collect();
        let found = self.reader.get_many::<u32>(&keys).await.unwrap();
        found.iter().flatten().count()
    }

    async fn assert_only_theirs(&self, after: &str) {
        block_in_place(|| {
            for name in FOREIGN {
                assert_eq!(
                    self.server.cli(&["GET", name]),
                    "theirs",
                    "{name} after {after}"
                );
            }
            assert_eq!(
                self.server.cli(&["LLEN", "queue:mail"]),
                "2",
                "after {after}"
            );
        });
        assert_eq!(self.own().await, 0, "own keys are gone after {after}");
    }
}

const NAMESPACES: [Option<&str>; 2] = [None, Some("dexter")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_removes_what_is_ours() {
    for namespace in NAMESPACES {
        let shared = Shared::start(namespace).await;
        let cleared = shared.cache.clear().await.unwrap();
        // Below a namespace nothing is looked for.
        let removed = if namespace.is_some() { 0 } else { 20 };
        assert_eq!((cleared.removed, cleared.reach), (removed, Reach::Applied));
        shared.assert_only_theirs("clear").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_that_match_everything_remove_what_is_ours() {
    for namespace in NAMESPACES {
        for pattern in ["*", "**", "*:*", "?ssues:*", "[a-z]*", "*i*"] {
            let shared = Shared::start(namespace).await;
            let removed = shared.cache.invalidate(&KeyPattern::new(pattern)).await;
            assert_eq!(removed.unwrap().removed, 20, "{pattern} in {namespace:?}");
            shared.assert_only_theirs(pattern).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_during_an_outage_removes_what_is_ours() {
    for namespace in NAMESPACES {
        let shared = Shared::start(namespace).await;
        block_in_place(|| break_off(&shared.proxy));
        until_lost(&shared.cache).await;
        let cleared = shared.cache.clear().await.unwrap();
        assert_eq!(cleared.reach, Reach::Journaled);
        block_in_place(|| shared.proxy.accept_new());
        until_back(&shared.cache).await;
        shared.assert_only_theirs("a clear in an outage").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_overflows_removes_what_is_ours() {
    for namespace in NAMESPACES {
        let shared = Shared::start(namespace).await;
        overflow(&shared.proxy, &shared.cache).await;
        shared.assert_only_theirs("journal overflow").await;
    }
}

/// A service that only writes to the database knows its prefixes by what it removes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_overflows_covers_what_was_only_removed() {
    let shared = Shared::start(None).await;
    let writer = ready(patient_builder(&shared.proxy.url())).await;
    overflow(&shared.proxy, &writer).await;
    shared
        .assert_only_theirs("journal overflow of a process that stored nothing")
        .await;
}

/// A process that has started again finds what it stored before, and clears it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_covers_what_was_only_read() {
    for many in [false, true] {
        let shared = Shared::start(None).await;
        let reader = ready(patient_builder(&shared.server.url())).await;
        let some = key("issues", 7);
        if many {
            let found = reader.get_many::<u32>(std::slice::from_ref(&some)).await;
            assert_eq!(found.unwrap(), [Some(7)]);
        } else {
            let found = reader.get_or_load(&some, MINUTE, || async { 99_u32 }).await;
            assert_eq!(found, 7);
        }
        // What was found under this prefix is not this library's.
        assert_eq!(
            reader
                .get::<u32>(&dexter_cache::Key::raw("session:1"))
                .await
                .unwrap(),
            None
        );
        assert_eq!(reader.clear().await.unwrap().removed, 20);
        shared.assert_only_theirs("a clear by a reader").await;
        assert_eq!(
            reader.get_or_load(&some, MINUTE, || async { 99_u32 }).await,
            99
        );
    }
}

async fn overflow(proxy: &Proxy, cache: &Cache) {
    block_in_place(|| break_off(proxy));
    until_lost(cache).await;
    let removing = async {
        for id in 0..TOO_MANY {
            let removed = cache.remove(&key("issues", id)).await.unwrap();
            assert_eq!(removed.reach, Reach::Journaled);
        }
    };
    tokio::time::timeout(BOUND, removing)
        .await
        .expect("no removal waits");
    assert_eq!(cache.health().journaled, 1, "everything");
    block_in_place(|| proxy.accept_new());
    until_back(cache).await;
    until("the journal is replayed", || cache.health().journaled == 0).await;
}
