//! A reply and the news that it is out of date, in one segment: what was read then is not kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use dexter_cache::{Cache, Key};
use support::{FakeRedis, RedisServer, Reply};
use tokio::task::block_in_place;

use super::{NAMESPACE, builder, set, tiered};
use crate::{MINUTE, key, ready, soon};

const QUIET: u8 = 0;
const REPLY_THEN_NEWS: u8 = 1;
const NEWS_THEN_REPLY: u8 = 2;

/// What a cache of this library stores for the value 1, and the epoch of the namespace.
async fn stored() -> [Vec<u8>; 2] {
    let server = RedisServer::start();
    let cache = tiered(&server).await;
    let key = key("raced", 1);
    set(&cache, &key, 1).await;
    let names = [format!("{NAMESPACE}:{key}"), EPOCH.to_owned()];
    names.map(
        |name| match block_in_place(|| server.call(&["GET", &name])) {
            Reply::Bulk(bytes) => bytes,
            other => panic!("{name}: {other:?}"),
        },
    )
}

const EPOCH: &str = "tiered:dexter-cache:epoch";

/// A server that has the value 1 under every key, and says in the same breath that it has changed.
struct Racing {
    _fake: FakeRedis,
    cache: Cache,
    order: Arc<AtomicU8>,
    /// How often the value has been read.
    asked: Arc<AtomicUsize>,
}

impl Racing {
    async fn start() -> Self {
        let [envelope, epoch] = stored().await;
        let (order, asked) = (
            Arc::new(AtomicU8::new(QUIET)),
            Arc::<AtomicUsize>::default(),
        );
        let (said, counted) = (order.clone(), asked.clone());
        let fake = FakeRedis::start(move |command| {
            let (name, keys) = command.split_first()?;
            let mut news = Vec::new();
            let mut reply = match name.as_slice() {
                b"GET" => Vec::new(),
                b"MGET" => format!("*{}\r\n", keys.len()).into_bytes(),
                _ => return None,
            };
            for key in keys {
                if key == EPOCH.as_bytes() {
                    reply.extend(FakeRedis::bulk(&epoch));
                } else {
                    reply.extend(FakeRedis::bulk(&envelope));
                    news.extend(FakeRedis::changed(key));
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
            Some(match said.load(Ordering::SeqCst) {
                REPLY_THEN_NEWS => [reply, news].concat(),
                NEWS_THEN_REPLY => [news, reply].concat(),
                _ => reply,
            })
        });
        let cache = ready(builder(&fake.url())).await;
        assert!(cache.health().watching);
        Self {
            _fake: fake,
            cache,
            order,
            asked,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn read(cache: &Cache, key: &Key, how: u32) -> Option<u32> {
    match how % 3 {
        0 => cache.get(key).await.unwrap(),
        1 => cache.get_many(std::slice::from_ref(key)).await.unwrap()[0],
        _ => Some(cache.get_or_load(key, MINUTE, || async { 0 }).await),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_arrives_with_the_news_that_it_is_old_is_not_kept() {
    let racing = Racing::start().await;
    let (cache, order) = (&racing.cache, &racing.order);
    for (round, id) in (0..300).enumerate() {
        let how = if round % 2 == 0 {
            REPLY_THEN_NEWS
        } else {
            NEWS_THEN_REPLY
        };
        order.store(how, Ordering::SeqCst);
        let key = key("raced", id);
        let before = racing.asked();
        assert_eq!(read(cache, &key, id).await, Some(1));
        // What is answered now comes behind the news.
        assert_eq!(read(cache, &crate::key("other", id), id).await, Some(1));
        assert_eq!(read(cache, &key, id / 3).await, Some(1));
        assert_eq!(racing.asked(), before + 3, "the first answer was kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_news_it_is_kept_however_it_is_read() {
    let racing = Racing::start().await;
    let cache = &racing.cache;
    for how in 0..3 {
        let key = key("quiet", how);
        let kept = async {
            loop {
                assert_eq!(read(cache, &key, how).await, Some(1));
                let before = racing.asked();
                assert_eq!(cache.get(&key).await.unwrap(), Some(1_u32));
                if racing.asked() == before {
                    return;
                }
            }
        };
        soon("it is kept", kept).await;
    }
}
