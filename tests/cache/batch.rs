//! Many keys at once. Time is simulated: a deadline says that somebody hangs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dexter_cache::test_util::{Fault, FaultyBackend};
use dexter_cache::{Cache, CacheContext, ErrorKind, Key, Policy, Ttl, bypass, refresh};
use support::cut_off;
use tokio::sync::Semaphore;

use crate::cancel::some_awaits;
use crate::origin::{self, Down, HOUR, MINUTE, settle};

const TTL: Ttl = Ttl::secs(60);

fn key(id: &u32) -> Key {
    Key::new("batch").part("id", id)
}

/// What was asked for, load by load. Odd numbers below a hundred are not there.
#[derive(Debug, Default)]
struct Table {
    loads: Mutex<Vec<Vec<u32>>>,
}

impl Table {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    async fn select(&self, ids: Vec<u32>) -> HashMap<u32, u32> {
        self.loads.lock().unwrap().push(ids.clone());
        some_awaits().await;
        ids.into_iter()
            .filter(|id| id % 2 == 0 || *id >= 100)
            .map(|id| (id, id * 10))
            .collect()
    }

    fn take(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.loads.lock().unwrap())
    }

    /// How often the id that was asked for most was.
    fn most(&self) -> usize {
        let mut counts = HashMap::<u32, usize>::new();
        for id in self.loads.lock().unwrap().iter().flatten() {
            *counts.entry(*id).or_default() += 1;
        }
        counts.into_values().max().unwrap_or_default()
    }
}

async fn select(cache: &Cache, ids: &[u32], table: &Table) -> Vec<Option<u32>> {
    let values = cache.get_or_load_many(ids, key, TTL, |ids| table.select(ids));
    let values = tokio::time::timeout(Duration::from_secs(5), values).await;
    values.expect("nobody hangs")
}

/// Every kind of cache: in memory, over a backend that compares, and one whose backend is away.
async fn caches() -> Vec<(&'static str, Cache)> {
    let away = FaultyBackend::new();
    let mut caches = vec![("memory", Cache::memory())];
    for (name, backend) in [("backend", FaultyBackend::new()), ("away", away.clone())] {
        let cache = Cache::builder().backend(backend).build().await;
        caches.push((name, cache.expect("the options are good")));
    }
    away.inject(Fault::Fail(ErrorKind::Unavailable));
    caches[2]
        .1
        .remove(&Key::new("batch"))
        .await
        .expect("journaled");
    caches
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_loaded_at_once_and_comes_in_its_place() {
    for (name, cache) in caches().await {
        let table = Table::new();
        assert_eq!(
            select(&cache, &[4, 2, 4, 3], &table).await,
            [Some(40), Some(20), Some(40), None],
            "{name}"
        );
        settle().await;
        assert_eq!(table.take(), [vec![4, 2, 3]], "{name}");
        assert_eq!(
            select(&cache, &[2, 3, 6, 4], &table).await,
            [Some(20), None, Some(60), Some(40)]
        );
        settle().await;
        // A lease that was just given back is waited for, so it may take two.
        let mut again = table.take().concat();
        again.sort_unstable();
        assert_eq!(
            again,
            [3, 6],
            "{name}: what was not there is looked for again"
        );
        let counts = cache.stats().prefix("batch");
        assert_eq!(
            (counts.hits, counts.misses, counts.loads),
            (2, 5, 5),
            "{name}"
        );
        assert_eq!(select(&cache, &[], &table).await, []);
        let one = cache.get_or_load(&key(&6), TTL, || async { 0_u32 }).await;
        assert_eq!(one, 60, "{name}: the same entries as of one key");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_remembered_where_the_policy_says_so() {
    for (name, cache) in caches().await {
        let table = Table::new();
        let policy = Policy::new(TTL).none_ttl(TTL);
        for _ in 0..2 {
            let ids = [1, 2, 3];
            let values = cache.get_or_load_many(&ids, key, policy.clone(), |ids| table.select(ids));
            assert_eq!(values.await, [None, Some(20), None]);
            settle().await;
        }
        assert_eq!(table.take().len(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_overlap_load_each_key_once() {
    for (name, cache) in caches().await {
        let (table, two) = (Table::new(), key(&2));
        let all = tokio::join!(
            select(&cache, &[2, 4], &table),
            select(&cache, &[4, 6], &table),
            select(&cache, &[6, 2], &table),
            cache.get_or_load(&two, TTL, || async { 0_u32 }),
        );
        assert_eq!(all.0, [Some(20), Some(40)]);
        assert_eq!(all.1, [Some(40), Some(60)]);
        assert_eq!(all.2, [Some(60), Some(20)]);
        assert_eq!(all.3, 20);
        assert_eq!(table.take(), [vec![2, 4], vec![6]], "{name}");
    }
}

/// Each of two has what the other one waits for, and neither waits before it has loaded its own.
#[tokio::test(start_paused = true)]
async fn two_batches_that_need_each_other_do_not_wait_for_ever() {
    for (name, cache) in caches().await {
        let gates = [Semaphore::new(0), Semaphore::new(0)];
        // Somebody else has begun with 2, so that the first batch follows it, and so on in a ring.
        let load = |gate: usize, ids: Vec<u32>| {
            let gate = &gates[gate];
            async move {
                gate.acquire().await.expect("never closed").forget();
                ids.into_iter().map(|id| (id, id * 10)).collect::<Vec<_>>()
            }
        };
        let one = cache.get_or_load_many(&[1, 2, 3], key, TTL, |ids| load(0, ids));
        let other = cache.get_or_load_many(&[3, 4, 1, 5], key, TTL, |ids| load(1, ids));
        let open = async {
            settle().await;
            gates[1].add_permits(1);
            settle().await;
            gates[0].add_permits(1);
        };
        let both = async { tokio::join!(one, other, open) };
        let both = tokio::time::timeout(Duration::from_secs(1), both).await;
        let (one, other, ()) = both.unwrap_or_else(|_| panic!("{name} hangs"));
        assert_eq!(one, [Some(10), Some(20), Some(30)]);
        assert_eq!(other, [Some(30), Some(40), Some(10), Some(50)]);
    }
}

#[tokio::test(start_paused = true)]
async fn scar_16_a_batch_cut_off_at_each_await_hands_every_key_over() {
    for polls in 0..14 {
        for (name, cache) in caches().await {
            let table = Table::new();
            let cut = {
                let (cache, table) = (cache.clone(), Arc::clone(&table));
                async move { cut_off(select(&cache, &[2, 4, 6], &table), polls).await }
            };
            let six = key(&6);
            let one = cache.get_or_load(&six, TTL, || async { 60_u32 });
            let all = async {
                tokio::join!(
                    cut,
                    select(&cache, &[4, 2], &table),
                    one,
                    select(&cache, &[6, 8], &table)
                )
            };
            let all = tokio::time::timeout(Duration::from_secs(20), all).await;
            let (_, two, one, last) =
                all.unwrap_or_else(|_| panic!("{name}: somebody hangs after {polls} polls"));
            assert_eq!(two, [Some(40), Some(20)], "{name} after {polls} polls");
            assert_eq!((one, last), (60, vec![Some(60), Some(80)]));
            assert!(table.most() <= 2, "{name} after {polls} polls: {table:?}");
            settle().await;
            let kept = cache.get_many::<u32>(&[key(&2), key(&4), key(&6)]).await;
            let all = [Some(20), Some(40), Some(60)];
            assert_eq!(kept.unwrap(), all, "{name} after {polls} polls");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_is_tried_again_and_what_is_stale_answers_for_it() {
    let (cache, clock) = origin::clocked().await;
    let policy = Policy::new(Ttl::from_duration(MINUTE)).stale(HOUR);
    let ask = async |ids: &[u32], up: bool| {
        let load = async |ids: Vec<u32>| {
            some_awaits().await;
            let found = ids.into_iter().map(|id| (id, id * 10));
            if up { Ok(found) } else { Err(Down) }
        };
        cache
            .try_get_or_load_many(ids, key, policy.clone(), load)
            .await
    };
    assert_eq!(ask(&[1, 2], false).await, Err(Down));
    assert_eq!(ask(&[1, 2], true).await, Ok(vec![Some(10), Some(20)]));
    assert_eq!(
        ask(&[1, 2], false).await,
        Ok(vec![Some(10), Some(20)]),
        "hits"
    );
    assert_eq!(
        ask(&[1, 3], false).await,
        Err(Down),
        "one of them is not there"
    );
    clock.advance(MINUTE);
    assert_eq!(
        ask(&[1, 2], false).await,
        Ok(vec![Some(10), Some(20)]),
        "stale"
    );
    assert_eq!(cache.stats().total.stale, 2);
    cache.remove(&key(&1)).await.unwrap();
    clock.advance(MINUTE);
    assert_eq!(ask(&[1, 2], false).await, Err(Down), "removed");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_batch_that_fails_loads_for_itself() {
    for (name, cache) in caches().await {
        let gate = Semaphore::new(0);
        let fails = |_: Vec<u32>| async {
            gate.acquire().await.expect("never closed").forget();
            Err::<Vec<(u32, u32)>, _>(Down)
        };
        let table = Table::new();
        let failing = cache.try_get_or_load_many(&[2, 4], key, TTL, fails);
        let open = async {
            settle().await;
            gate.add_permits(1);
        };
        let two = key(&2);
        let one = cache.get_or_load(&two, TTL, || async { 20_u32 });
        let all = async { tokio::join!(failing, one, select(&cache, &[4, 6], &table), open) };
        let all = tokio::time::timeout(Duration::from_secs(5), all).await;
        let (failing, one, many, ()) = all.unwrap_or_else(|_| panic!("{name} hangs"));
        assert_eq!((failing, one), (Err(Down), 20));
        assert_eq!(many, [Some(40), Some(60)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_panics_hangs_nobody_and_stores_nothing() {
    for (name, cache) in caches().await {
        let panics = {
            let cache = cache.clone();
            tokio::spawn(async move {
                let load = async |_: Vec<u32>| -> Vec<(u32, u32)> {
                    some_awaits().await;
                    panic!("as it should")
                };
                cache.get_or_load_many(&[2, 4], key, TTL, load).await
            })
        };
        while cache.stats().total.loads < 2 {
            tokio::task::yield_now().await;
        }
        let table = Table::new();
        let (panicked, values) = tokio::join!(panics, select(&cache, &[2, 4], &table));
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(values, [Some(20), Some(40)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn scar_1_of_a_batch_under_way_what_is_removed_is_not_stored_and_the_rest_is() {
    for (name, cache) in caches().await {
        for how in 0..4 {
            cache.clear().await.unwrap();
            let gate = Semaphore::new(0);
            let load = |ids: Vec<u32>| async {
                gate.acquire().await.expect("never closed").forget();
                ids.into_iter().map(|id| (id, 1_u32)).collect::<Vec<_>>()
            };
            let policy = Policy::new(TTL).tag("all");
            let loading = cache.get_or_load_many(&[1, 2], key, policy.clone(), load);
            let removing = async {
                settle().await;
                match how {
                    0 => drop(cache.remove(&key(&1)).await.unwrap()),
                    1 => cache.set(&key(&1), &2_u32, TTL).await.unwrap(),
                    2 => drop(cache.invalidate_tag("all").await.unwrap()),
                    _ => {
                        let again = async |ids: Vec<u32>| ids.into_iter().map(|id| (id, 2_u32));
                        let again = cache.get_or_load_many(&[1], key, policy.clone(), again);
                        assert_eq!(refresh(again).await, [Some(2)]);
                    }
                }
                settle().await;
                gate.add_permits(1);
            };
            let (loaded, ()) = tokio::join!(loading, removing);
            assert_eq!(loaded, [Some(1), Some(1)], "its caller gets it");
            settle().await;
            let kept = cache.get_many::<u32>(&[key(&1), key(&2)]).await.unwrap();
            let expected = match how {
                0 => [None, Some(1)],
                2 => [None, None],
                _ => [Some(2), Some(1)],
            };
            assert_eq!(kept, expected, "{name} {how}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_reaches_its_own_keys_runs_the_load() {
    for (name, cache) in caches().await {
        let load = |ids: Vec<u32>| {
            let cache = &cache;
            async move {
                assert!(CacheContext::current().is_none(), "{name}");
                let inner = cache
                    .get_or_load(&key(&ids[1]), TTL, || async { 7_u32 })
                    .await;
                let again = async |ids: Vec<u32>| ids.into_iter().map(|id| (id, 8_u32));
                let again = Box::pin(cache.get_or_load_many(&ids, key, TTL, again)).await;
                assert_eq!((inner, again), (7, vec![Some(8), Some(8)]));
                ids.into_iter().map(|id| (id, 9_u32)).collect::<Vec<_>>()
            }
        };
        let values = cache.get_or_load_many(&[1, 2], key, TTL, load);
        let values = tokio::time::timeout(Duration::from_secs(1), values).await;
        assert_eq!(values.expect("no deadlock"), [Some(9), Some(9)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bypass_goes_round_and_a_refresh_replaces() {
    for (name, cache) in caches().await {
        let of = |value: u32| {
            let load = move |ids: Vec<u32>| async move {
                ids.into_iter().map(|id| (id, value)).collect::<Vec<_>>()
            };
            cache.get_or_load_many(&[1, 2], key, TTL, load)
        };
        assert_eq!(of(1).await, [Some(1), Some(1)]);
        settle().await;
        assert_eq!(bypass(of(2)).await, [Some(2), Some(2)]);
        assert_eq!(of(3).await, [Some(1), Some(1)], "{name}");
        assert_eq!(refresh(of(4)).await, [Some(4), Some(4)]);
        settle().await;
        assert_eq!(of(5).await, [Some(4), Some(4)], "{name}");
        cache.disable();
        assert_eq!(of(6).await, [Some(6), Some(6)]);
        cache.enable();
        cache.remove(&key(&1)).await.unwrap();
        let transaction = cache.deferred(async {
            cache.remove(&key(&2)).await.unwrap();
            assert_eq!(of(7).await, [Some(7), Some(7)]);
            Ok::<_, ()>(())
        });
        transaction.await.unwrap();
        settle().await;
        assert_eq!(
            of(8).await,
            [Some(7), Some(8)],
            "{name}: what it removed it did not store"
        );
    }
}

/// It is one load for the origin, so it waits for one permit, and for none of its own.
#[tokio::test(start_paused = true)]
async fn while_the_backend_is_away_a_batch_is_one_load() {
    let backend = FaultyBackend::new();
    let builder = Cache::builder()
        .backend(backend.clone())
        .loads_while_away(1);
    let cache = builder.build().await.unwrap();
    backend.inject(Fault::Fail(ErrorKind::Unavailable));
    cache.remove(&Key::new("batch")).await.unwrap();
    let table = Table::new();
    let ids: Vec<u32> = (0..300).map(|id| 2 * id).collect();
    let others: Vec<u32> = (300..600).map(|id| 2 * id).collect();
    let (one, other) = tokio::join!(
        select(&cache, &ids, &table),
        select(&cache, &others, &table)
    );
    assert!(one.iter().chain(&other).all(Option::is_some));
    assert_eq!(table.take(), [ids, others]);
}

/// Neither an error nor an id has to be anything but what the caller's own types are.
#[test]
fn it_is_send_where_its_parts_are() {
    fn is_send<T: Send>(_: &T) {}
    let cache = Cache::memory();
    let load = async |ids: Vec<u32>| Ok::<_, std::fmt::Error>(ids.into_iter().map(|id| (id, id)));
    is_send(&cache.try_get_or_load_many(&[1], key, TTL, load));
}
