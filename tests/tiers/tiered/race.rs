//! A reply and the news that it is out of date, in one segment: what was read then is not kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dexter_cache::{Cache, Key};
use support::{FakeRedis, RedisServer};
use tokio::task::block_in_place;

use super::{NAMESPACE, builder, set, tiered};
use crate::{MINUTE, key, ready, soon};

const QUIET: u8 = 0;
const REPLY_THEN_NEWS: u8 = 1;
const NEWS_THEN_REPLY: u8 = 2;

/// What a cache of this library stores for the value 1.
async fn envelope() -> Vec<u8> {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let key = key("raced", 1);
    set(&cache, &key, 1).await;
    let name = format!("{NAMESPACE}:{key}");
    match block_in_place(|| server.call(&["GET", &name])) {
        support::Reply::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// A server that has the value 1 under every key, and says in the same breath that it has changed.
async fn racing() -> (FakeRedis, Cache, Arc<AtomicU8>) {
    let envelope = envelope().await;
    let order = Arc::new(AtomicU8::new(QUIET));
    let said = order.clone();
    let fake = FakeRedis::start(move |command| {
        let mut reply = FakeRedis::bulk(&envelope);
        match command.first()?.as_slice() {
            b"GET" => {}
            b"MGET" => reply.splice(0..0, *b"*1\r\n").for_each(drop),
            _ => return None,
        }
        let news = FakeRedis::changed(&command[1]);
        Some(match said.load(Ordering::SeqCst) {
            REPLY_THEN_NEWS => [reply, news].concat(),
            NEWS_THEN_REPLY => [news, reply].concat(),
            _ => reply,
        })
    });
    let cache = ready(builder(&fake.url())).await;
    assert!(cache.health().watching);
    (fake, cache, order)
}

async fn read(cache: &Cache, key: &Key, how: u32) -> Option<u32> {
    match how % 3 {
        0 => cache.get(key).await.unwrap(),
        1 => cache.get_many(std::slice::from_ref(key)).await.unwrap()[0],
        _ => Some(cache.get_or_load(key, MINUTE, || async { 0 }).await),
    }
}

fn asked(fake: &FakeRedis) -> usize {
    fake.count("GET") + fake.count("MGET")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_arrives_with_the_news_that_it_is_old_is_not_kept() {
    let (fake, cache, order) = racing().await;
    for (round, id) in (0..300).enumerate() {
        let how = if round % 2 == 0 {
            REPLY_THEN_NEWS
        } else {
            NEWS_THEN_REPLY
        };
        order.store(how, Ordering::SeqCst);
        let key = key("raced", id);
        let before = asked(&fake);
        assert_eq!(read(&cache, &key, id).await, Some(1));
        // What is answered now comes behind the news.
        assert_eq!(read(&cache, &crate::key("other", id), id).await, Some(1));
        assert_eq!(read(&cache, &key, id / 3).await, Some(1));
        assert_eq!(asked(&fake), before + 3, "the first answer was kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_news_it_is_kept_however_it_is_read() {
    let (fake, cache, _) = racing().await;
    for how in 0..3 {
        let key = key("quiet", how);
        let kept = async {
            loop {
                assert_eq!(read(&cache, &key, how).await, Some(1));
                let before = asked(&fake);
                assert_eq!(cache.get(&key).await.unwrap(), Some(1_u32));
                if asked(&fake) == before {
                    return;
                }
            }
        };
        soon("it is kept", kept).await;
    }
}
