//! Tags and the epoch over a real Redis. Two caches stand for two processes: they share no memory.

use dexter_cache::{Cache, CacheContext, Clear, Key, Policy, Reach};
use support::{Proxy, RedisServer};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use crate::{
    MINUTE, break_off, key, patient_builder, ready, soon, until, until_back, until_health,
    until_lost,
};

fn tagged(tags: &[&str]) -> Policy {
    Policy::new(MINUTE).tags(tags)
}

async fn pair(server: &RedisServer) -> [Cache; 2] {
    let builder = || patient_builder(&server.url()).namespace("tags");
    [ready(builder()).await, ready(builder()).await]
}

async fn held(cache: &Cache, id: u32) -> Option<u32> {
    cache.get(&key("tagged", id)).await.unwrap()
}

async fn load(cache: &Cache, id: u32, tags: &[&str], value: u32) -> u32 {
    let key = key("tagged", id);
    let load = cache.get_or_load(&key, tagged(tags), || async { value });
    soon("a load", load).await
}

/// Loads, and waits until the value is stored.
async fn fill(cache: &Cache, id: u32, tags: &[&str], value: u32) {
    let before = cache.stats().total.stored;
    assert_eq!(load(cache, id, tags, value).await, value);
    until("the value is stored", || {
        cache.stats().total.stored > before
    })
    .await;
}

async fn invalidate(cache: &Cache, tag: &str) {
    let done = soon("an invalidation", cache.invalidate_tag(tag)).await;
    assert_eq!(done.unwrap().reach, Reach::Applied);
}

/// A load that ends when it is told to.
struct Slow {
    cache: Cache,
    go: oneshot::Sender<u32>,
    load: tokio::task::JoinHandle<u32>,
}

impl Slow {
    /// `late` are tags that the load puts on its value.
    async fn begin(cache: &Cache, id: u32, tags: &[&str], late: &'static [&'static str]) -> Self {
        let (go, gone) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let policy = tagged(tags);
        let load = tokio::spawn({
            let cache = cache.clone();
            async move {
                let load = || async {
                    begun.send(()).unwrap();
                    let value = gone.await.unwrap();
                    late.iter()
                        .for_each(|tag| CacheContext::current().expect("within a load").tag(tag));
                    value
                };
                cache.get_or_load(&key("tagged", id), policy, load).await
            }
        });
        soon("a load begins", begins).await.unwrap();
        let cache = cache.clone();
        Self { cache, go, load }
    }

    /// Ends it, and waits until its value was stored, or was not.
    async fn end(self, value: u32) {
        let settled = |cache: &Cache| {
            let total = cache.stats().total;
            total.stored + total.fenced
        };
        let before = settled(&self.cache);
        self.go.send(value).unwrap();
        assert_eq!(soon("the load", self.load).await.unwrap(), value);
        until("the fill is over", || settled(&self.cache) > before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_one_process_invalidates_is_invalid_in_all() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for round in 0..3 {
        for (id, tags) in [(1, &["a"][..]), (2, &["a", "b"]), (3, &["b"]), (4, &[])] {
            let value = 10 * round + id;
            assert_eq!(load(&here, id, tags, value).await % 10, id);
            until("it is there", || here.stats().total.stored > 0).await;
        }
        for id in 1..=4 {
            let there = there.clone();
            until_some(&there, id).await;
        }
        invalidate(&here, "a").await;
        for cache in [&here, &there] {
            let held = [
                held(cache, 1).await,
                held(cache, 2).await,
                held(cache, 3).await,
            ];
            assert_eq!(held, [None, None, Some(3)]);
            let keys = [1, 2, 3, 4].map(|id| key("tagged", id));
            let many = cache.get_many::<u32>(&keys).await.unwrap();
            assert_eq!(many, [None, None, Some(3), Some(4)]);
        }
        assert_eq!(there.stats().total.unusable, 0, "that is no garbage");
    }
}

async fn until_some(cache: &Cache, id: u32) {
    let seen = async {
        while held(cache, id).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    soon("it is there", seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_under_way_is_never_valid_when_another_process_invalidates_its_tag() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    // The first time no token is there yet; later it is, and is known.
    for round in 0..4 {
        let slow = Slow::begin(&here, 1, &["a", "b"], &[]).await;
        invalidate(&there, "b").await;
        slow.end(1).await;
        for cache in [&here, &there] {
            assert_eq!(held(cache, 1).await, None, "round {round}");
        }
        fill(&there, 1, &["a", "b"], 2).await;
        assert_eq!(load(&here, 1, &["a", "b"], 3).await, 2);
        invalidate(&here, "a").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_of_the_value_are_stored_from_the_first_load_on() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for round in 0..3 {
        Slow::begin(&here, 1, &["a"], &["a", "late"])
            .await
            .end(round)
            .await;
        for cache in [&here, &there] {
            assert_eq!(held(cache, 1).await, Some(round));
            assert_eq!(load(cache, 1, &["a"], 99).await, round);
        }
        invalidate(&there, "late").await;
        for cache in [&here, &there] {
            assert_eq!(held(cache, 1).await, None);
        }
    }
    assert_eq!(here.stats().total.fenced, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_with_tags_of_its_own_is_not_stored_after_any_invalidation_anywhere() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for round in 0..2 {
        for tag in ["late", "another"] {
            let slow = Slow::begin(&here, 1, &[], &["late"]).await;
            invalidate(&there, tag).await;
            slow.end(1).await;
            assert_eq!(held(&there, 1).await, None, "{tag}, round {round}");
            assert_eq!(held(&here, 1).await, None, "{tag}, round {round}");
        }
        // Known here from now on, so that the next round needs no look.
        Slow::begin(&here, 2, &["late"], &[]).await.end(2).await;
        assert_eq!(load(&here, 2, &["late"], 99).await, 2);
        invalidate(&there, "nothing").await;
    }
}

/// Scar 17: a marker that is lost makes old values valid. Here it makes them void.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_17_a_token_that_is_lost_is_a_miss() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    fill(&here, 1, &["a"], 1).await;
    fill(&here, 2, &["b"], 2).await;
    fill(&here, 3, &[], 3).await;
    let keys = block_in_place(|| server.cli(&["KEYS", "tags:dexter-cache:tag:*"]));
    assert_eq!(keys.lines().count(), 2);
    for key in keys.lines() {
        block_in_place(|| server.cli(&["DEL", key]));
    }
    for cache in [&here, &there] {
        let held = [
            held(cache, 1).await,
            held(cache, 2).await,
            held(cache, 3).await,
        ];
        assert_eq!(held, [None, None, Some(3)], "and no others are");
    }
    fill(&here, 1, &["a"], 4).await;
    assert_eq!(held(&there, 1).await, Some(4));

    // Whatever somebody writes there is another token.
    let token = block_in_place(|| server.cli(&["KEYS", "tags:dexter-cache:tag:*"]));
    block_in_place(|| server.cli(&["SET", &token, "garbage"]));
    assert_eq!(held(&here, 1).await, None);
    fill(&here, 1, &["a"], 5).await;
    assert_eq!(held(&there, 1).await, Some(5));

    block_in_place(|| server.cli(&["DEL", "tags:dexter-cache:epoch"]));
    for cache in [&here, &there] {
        assert_eq!(
            held(cache, 1).await,
            None,
            "without an epoch nothing is valid"
        );
        assert_eq!(held(cache, 3).await, None);
    }
}

/// Scar 18: a set of keys under each tag grows for ever. A token does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scar_18_a_tag_takes_the_same_room_whatever_it_labels() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for id in 0..500 {
        let policy = tagged(&["all"]);
        here.set(&key("tagged", id), &id, policy).await.unwrap();
    }
    let reserved = || block_in_place(|| server.cli(&["KEYS", "tags:dexter-cache:tag:*"]));
    let kept = reserved();
    assert_eq!(kept.lines().count(), 1);
    let size = block_in_place(|| server.cli(&["STRLEN", &kept]));
    assert_eq!(size, "16");
    invalidate(&there, "all").await;
    assert_eq!(reserved(), "", "an invalidated tag takes none");
    let keys: Vec<Key> = (0..500).map(|id| key("tagged", id)).collect();
    let held = here.get_many::<u32>(&keys).await.unwrap();
    assert!(held.iter().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_invalidated_in_an_outage_is_invalid_after_it() {
    for namespace in [None, Some("tags")] {
        let server = RedisServer::start();
        let proxy = Proxy::start(server.port());
        let builder = |url: &str| match namespace {
            Some(namespace) => patient_builder(url).namespace(namespace),
            None => patient_builder(url),
        };
        let here = ready(builder(&proxy.url())).await;
        let there = ready(builder(&server.url())).await;
        fill(&there, 1, &["a"], 1).await;
        fill(&there, 2, &["b"], 2).await;
        assert_eq!(load(&here, 1, &["a"], 99).await, 1);
        block_in_place(|| break_off(&proxy));
        until_lost(&here).await;
        let done = here.invalidate_tag("a").await.unwrap();
        assert_eq!(done.reach, Reach::Journaled);
        assert_eq!(
            load(&here, 1, &["a"], 3).await,
            3,
            "loaded, and kept in memory"
        );
        assert_eq!(load(&here, 1, &["a"], 99).await, 3);
        let _ = here.invalidate_tag("a").await.unwrap();
        assert_eq!(load(&here, 1, &["a"], 4).await, 4, "memory knows tags, too");
        block_in_place(|| proxy.accept_new());
        until_back(&here).await;
        until_health(&here, "it is replayed", |health| health.journaled == 0).await;
        for cache in [&here, &there] {
            assert_eq!(held(cache, 1).await, None);
            assert_eq!(held(cache, 2).await, Some(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_tags_than_the_journal_holds_clear_the_namespace_without_a_sweep() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let builder = |url: &str| patient_builder(url).namespace("tags");
    let here = ready(builder(&proxy.url())).await;
    let there = ready(builder(&server.url())).await;
    fill(&there, 1, &["a"], 1).await;
    fill(&there, 2, &[], 2).await;
    block_in_place(|| break_off(&proxy));
    until_lost(&here).await;
    let many = (0..10_050).map(|number| format!("tag:{number}"));
    let done = here.invalidate_tags(many).await.unwrap();
    assert_eq!(done.reach, Reach::Journaled);
    assert_eq!(here.health().journaled, 1);
    let mut monitor = server.monitor();
    block_in_place(|| proxy.accept_new());
    until_back(&here).await;
    let asked = block_in_place(|| monitor.take());
    assert!(asked.iter().all(|seen| seen.name() != "SCAN"));
    for cache in [&here, &there] {
        assert_eq!([held(cache, 1).await, held(cache, 2).await], [None, None]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_a_snapshot_brings_back_is_invalidated_again() {
    // Believed, the server is reminded of the last minute; not believed, it is cleared first.
    for (trust, other) in [(true, Some(2)), (false, None)] {
        let server = RedisServer::start();
        let builder = || {
            patient_builder(&server.url())
                .namespace("tags")
                .trust_snapshot(trust)
        };
        let cache = ready(builder()).await;
        fill(&cache, 1, &["a"], 1).await;
        fill(&cache, 2, &["b"], 2).await;
        block_in_place(|| server.save());
        invalidate(&cache, "a").await;
        block_in_place(|| server.kill9());
        until_lost(&cache).await;
        block_in_place(|| server.restart_with_data());
        until_back(&cache).await;
        assert_eq!(
            [held(&cache, 1).await, held(&cache, 2).await],
            [None, other]
        );
        fill(&cache, 1, &["a"], 3).await;
        assert_eq!(held(&cache, 1).await, Some(3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_of_a_namespace_looks_for_nothing() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    block_in_place(|| server.cli(&["SET", "session:1", "theirs"]));
    block_in_place(|| server.cli(&["SET", "tags2:tagged:id=1", "theirs"]));
    for how in [Clear::Remove, Clear::Expire] {
        for id in 0..5 {
            fill(&here, id, &["a"], id).await;
            until_some(&there, id).await;
        }
        let slow = Slow::begin(&here, 9, &[], &[]).await;
        let mut monitor = server.monitor();
        let cleared = there.clear_with(how).await.unwrap();
        assert_eq!((cleared.removed, cleared.reach), (0, Reach::Applied));
        let asked = block_in_place(|| monitor.take());
        assert!(asked.iter().all(|seen| seen.name() != "SCAN"), "{how:?}");
        slow.end(9).await;
        for cache in [&here, &there] {
            for id in [0, 1, 2, 3, 4, 9] {
                assert_eq!(held(cache, id).await, None, "{how:?}");
            }
        }
    }
    for key in ["session:1", "tags2:tagged:id=1"] {
        assert_eq!(block_in_place(|| server.cli(&["GET", key])), "theirs");
    }
}

/// A change of the expiring half must not undo a removal that came in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clears_of_both_kinds_at_once_leave_nothing() {
    let server = RedisServer::start();
    let [here, there] = pair(&server).await;
    for round in 0..20 {
        fill(&here, 1, &[], round).await;
        let (one, other) = tokio::join!(
            here.clear_with(Clear::Expire),
            there.clear_with(Clear::Remove)
        );
        assert_eq!(one.unwrap().reach, Reach::Applied);
        assert_eq!(other.unwrap().reach, Reach::Applied);
        for cache in [&here, &there] {
            assert_eq!(held(cache, 1).await, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_under_a_tag_is_one_command_and_a_miss_three_round_trips() {
    let server = RedisServer::start();
    let cache = ready(patient_builder(&server.url()).namespace("tags")).await;
    let mut monitor = server.monitor();
    let mut about_keys = || {
        let seen = block_in_place(|| monitor.take()).into_iter();
        seen.filter(|seen| seen.from != "lua")
            .filter(|seen| {
                matches!(
                    seen.name(),
                    "GET" | "MGET" | "SET" | "EVALSHA" | "EVAL" | "UNLINK" | "SCAN"
                )
            })
            .filter(|seen| !seen.args[1].ends_with("dexter-cache:probe"))
            .map(|seen| seen.args)
            .collect::<Vec<_>>()
    };
    fill(&cache, 1, &["a"], 1).await;
    let miss = about_keys();
    assert_eq!(
        miss[0][0], "MGET",
        "value, token and epoch in one: {miss:?}"
    );
    assert_eq!(miss[0].len(), 4);
    let sets = miss.iter().filter(|args| args[0] == "SET").count();
    assert_eq!(
        sets, 4,
        "at once: the lease, the token, the epoch, the counter"
    );
    // The second command says all there is to know, so from the third on one key is enough. All of them are one round
    // trip; what is known is read along from time to time.
    for _ in 0..5 {
        assert_eq!(load(&cache, 1, &["a"], 99).await, 1);
        let hit = about_keys();
        assert_eq!(hit.len(), 1, "{hit:?}");
        assert!(matches!(&*hit[0][0], "GET" | "MGET"));
        assert!(hit[0][1].ends_with("tagged:id=1"));
    }
    invalidate(&cache, "a").await;
    let invalidated = about_keys();
    assert_eq!(invalidated.len(), 1, "one command: {invalidated:?}");
    assert_eq!(invalidated[0][0], "UNLINK");
    assert_eq!(
        invalidated[0][1], "tags:dexter-cache:tags",
        "the counter before the token"
    );
    assert_eq!(invalidated[0].len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_not_asked_for() {
    let server = RedisServer::start();
    let cache = ready(patient_builder(&server.url())).await;
    fill(&cache, 1, &["a"], 1).await;
    assert_eq!(load(&cache, 1, &["a"], 99).await, 1);
    let mut monitor = server.monitor();
    let mut commands = Vec::new();
    // A token is read along every ten seconds.
    until("a plain read is enough", || {
        block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            assert_eq!(runtime.block_on(load(&cache, 1, &["a"], 99)), 1);
            commands = monitor.take();
        });
        let about: Vec<_> = commands
            .iter()
            .filter(|seen| {
                seen.args
                    .get(1)
                    .is_some_and(|key| key.ends_with("tagged:id=1"))
            })
            .collect();
        about.iter().any(|seen| seen.name() == "GET")
    })
    .await;
}

/// Without RESP3 nothing is told, so nothing is remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_told_tags_are_read_with_every_value() {
    let server = RedisServer::start_with(&["--rename-command", "CLIENT", "NOTHERE"]);
    let [here, there] = pair(&server).await;
    for round in 0..3 {
        fill(&here, 1, &["a"], round).await;
        for cache in [&here, &there] {
            assert_eq!(held(cache, 1).await, Some(round));
            assert_eq!(load(cache, 1, &["a"], 99).await, round);
        }
        Slow::begin(&there, 2, &[], &["late"])
            .await
            .end(round)
            .await;
        assert_eq!(held(&here, 2).await, Some(round));
        invalidate(&there, "a").await;
        invalidate(&here, "late").await;
        for cache in [&here, &there] {
            assert_eq!([held(cache, 1).await, held(cache, 2).await], [None, None]);
        }
        fill(&here, 3, &[], round).await;
        let _ = there.clear().await.unwrap();
        assert_eq!(held(&here, 3).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_lets_go_of_what_another_process_invalidates() {
    let server = RedisServer::start();
    let builder = || patient_builder(&server.url()).namespace("tags").tiered();
    let [here, there] = [ready(builder()).await, ready(builder()).await];
    for round in 0..5 {
        fill(&here, 1, &["a"], round).await;
        fill(&here, 2, &[], round).await;
        // Read until L1 has them: it keeps what it knows the tokens of.
        until_kept(&there, round).await;
        invalidate(&here, "a").await;
        assert_eq!(held(&here, 1).await, None, "at once in this process");
        let gone = async {
            while held(&there, 1).await.is_some() {
                tokio::task::yield_now().await;
            }
        };
        soon("the other one is told", gone).await;
        assert_eq!(held(&there, 2).await, Some(round));
        let _ = here.clear().await.unwrap();
        assert_eq!(held(&here, 2).await, None);
        let gone = async {
            while held(&there, 2).await.is_some() {
                tokio::task::yield_now().await;
            }
        };
        soon("the other one is told", gone).await;
    }
}

/// Asks until both values are answered from memory.
async fn until_kept(cache: &Cache, value: u32) {
    let asking = async {
        loop {
            assert_eq!(load(cache, 1, &["a"], 99).await, value);
            assert_eq!(load(cache, 2, &[], 99).await, value);
            if cache.stats().entries >= 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("L1 keeps what was read", asking).await;
}
