//! [`Gather`]: many callers' `GET`s as one `MGET`, where there are many.
//!
//! A read of one key is half work for the cache and half for sockets, parsers and wake-ups, which cost as much for one key
//! as for sixty. So where [`BACKLOG`] reads are under way, the next ones that come together are asked for together: a
//! task takes what has come since its last turn and sends it as one command. Where there are fewer, each read is sent by
//! its caller, which has no one else to wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::config::RedisConfig;
use super::{error, ops};
use crate::error::Error;

/// With as many reads under way the next ones are gathered. With fewer it costs more than it saves: measured.
const BACKLOG: usize = 12;
/// Keys in one command. The values of all of them arrive before the first is handed on.
const MOST: usize = 64;
/// Bytes that a command should bring at most, by what the ones before it have brought.
const MOST_BYTES: usize = 256 * 1024;

/// The reads of one connection.
pub(super) struct Gather {
    under_way: AtomicUsize,
    wanted: UnboundedSender<Wanted>,
    /// `MGET` is refused.
    denied: AtomicBool,
}

/// A key that somebody waits for.
struct Wanted {
    key: Box<str>,
    answer: oneshot::Sender<Result<Option<Bytes>, Error>>,
}

/// Counts a read for as long as it is under way.
pub(super) struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gather {
    /// Gathers reads on `link`, in a task that ends with what is returned here.
    pub(super) fn begin(config: &RedisConfig, link: MultiplexedConnection) -> Self {
        let (wanted, queue) = unbounded_channel();
        tokio::spawn(run(Arc::new(config.clone()), link, queue));
        Self {
            under_way: AtomicUsize::new(0),
            wanted,
            denied: AtomicBool::new(false),
        }
    }

    /// Whether the next read is to be gathered with others.
    pub(super) fn is_worth_it(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= BACKLOG && !self.denied.load(Ordering::Relaxed)
    }

    /// One more read is under way for as long as what is returned.
    pub(super) fn enter(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }

    /// `MGET` is refused: every caller sends its own `GET` from now on.
    pub(super) fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    /// The value under `key`, asked for together with those that others want.
    pub(super) async fn get(
        &self,
        config: &RedisConfig,
        key: &str,
    ) -> Result<Option<Bytes>, Error> {
        let (answer, answered) = oneshot::channel();
        let key = key.into();
        // Both fail where the task has ended, with the runtime that it ran on.
        let lost = || error::unavailable(config, "the connection has ended");
        self.wanted
            .send(Wanted { key, answer })
            .map_err(|_| lost())?;
        answered.await.map_err(|_| lost())?
    }
}

async fn run(
    config: Arc<RedisConfig>,
    link: MultiplexedConnection,
    mut queue: UnboundedReceiver<Wanted>,
) {
    let mut wanted = Vec::with_capacity(MOST);
    let mut most = MOST;
    let (told, mut tell) = unbounded_channel();
    loop {
        if queue.recv_many(&mut wanted, most).await == 0 {
            return;
        }
        // Those who can run now may want something, too.
        tokio::task::yield_now().await;
        while wanted.len() < most
            && let Ok(more) = queue.try_recv()
        {
            wanted.push(more);
        }
        let wanted = wanted.split_off(0);
        tokio::spawn(ask(Arc::clone(&config), link.clone(), wanted, told.clone()));
        while let Ok(bytes_per_key) = tell.try_recv() {
            most = (MOST_BYTES / usize::max(bytes_per_key, 1)).clamp(1, MOST);
        }
    }
}

/// Asks for what is wanted, and tells how many bytes a key has brought.
async fn ask(
    config: Arc<RedisConfig>,
    mut link: MultiplexedConnection,
    mut wanted: Vec<Wanted>,
    told: UnboundedSender<usize>,
) {
    // Whoever ran out of patience wants nothing any more, and a server that is slow is not to be asked for it.
    wanted.retain(|wanted| !wanted.answer.is_closed());
    if wanted.is_empty() {
        return;
    }
    let mut get = cmd("MGET");
    for wanted in &wanted {
        get.arg(&*wanted.key);
    }
    let values = match link.send_packed_command(&get).await {
        Ok(Value::Array(values)) if values.len() == wanted.len() => values,
        other => {
            let failed = match other {
                Ok(Value::ServerError(refused)) => error::from_reply(&config, &refused),
                Ok(_) => error::unexpected(&config, "MGET"),
                Err(failed) => error::from_redis(&config, &failed),
            };
            for wanted in wanted {
                let _ = wanted.answer.send(Err(failed.clone()));
            }
            return;
        }
    };
    let mut bytes = 0;
    let keys = wanted.len();
    for (wanted, value) in wanted.into_iter().zip(values) {
        let value = ops::value(&config, value, "MGET");
        if let Ok(Some(value)) = &value {
            bytes += value.len();
        }
        // Whoever has gone meanwhile does not want it any more.
        let _ = wanted.answer.send(value);
    }
    let _ = told.send(bytes / keys);
}
