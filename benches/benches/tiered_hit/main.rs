//! What does a hit cost in memory in front of Redis, kept coherent by Redis?
//!
//! 1024 keys of 1 KB values, one and two tasks on two threads, all rows of a group measured in turns, each of which asserts
//! that nothing was loaded. Beside `dexter-cache` (`tiered`, the annotated function, `T` and `Arc<T>`):
//! * told of changes by Redis itself, too: `cached`'s Redis store with `client_side_caching`, `rustis`' `Cache` and
//!   `serde_json`, the `redis` crate's own cache and `serde_json`. All of them hold bytes and decode them on every hit;
//! * with a tier in memory that other processes' writes do not reach (`hitbox`), or that a channel of messages tells of them
//!   (`amalgam`, `multi-tier-cache`; here without: it is no part of a hit).
//!
//! How many commands a hit sends to Redis is noted: in the best case none.

#[path = "../shared/hitbox_answer.rs"]
mod hitbox_answer;
mod others;
#[path = "../shared/tasks.rs"]
mod tasks;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use benches::{ApiError, Issue, Turns, note};
use criterion::Criterion;
use dexter_cache::{Cache, cached};
use support::RedisServer;
use tokio::runtime::Builder;

use crate::tasks::Callers;

const KEYS: usize = 1024;
const TURNS: usize = 40;
const TURN: Duration = Duration::from_millis(10);

#[cached(ttl = "1h", prefix = "tiered_hit")]
async fn issue(path: &str, id: u64) -> Result<Issue, ApiError> {
    let _ = path;
    Ok(Issue::sample(id))
}

#[cached(ttl = "1h", prefix = "tiered_arc")]
async fn shared_issue(path: &str, id: u64) -> Result<Arc<Issue>, ApiError> {
    let _ = path;
    Ok(Arc::new(Issue::sample(id)))
}

async fn through_cache(id: u64) -> u64 {
    issue("/api/v1/issues", id).await.expect("an issue").id
}

async fn through_cache_shared(id: u64) -> u64 {
    let issue = shared_issue("/api/v1/issues", id).await;
    issue.expect("an issue").id
}

fn main() {
    let server = RedisServer::start();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let cache = Cache::builder().redis(server.url()).namespace("bench");
    let cache = runtime.block_on(cache.tiered().build()).expect("a cache");
    let others = runtime.block_on(others::connect(&server.url(), KEYS as u64));
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    for tasks in [1, 2] {
        let name = format!("tiered_hit {tasks}");
        let mut rows = Rows {
            callers: Callers {
                runtime: &runtime,
                cache: &cache,
                tasks,
                keys: KEYS,
            },
            server: &server,
            group: &name,
            turns: Turns::of(TURNS, TURN),
        };
        rows.row("dexter-cache", through_cache);
        rows.row("dexter-cache Arc<T>", through_cache_shared);
        rows.row("cached client_side_caching", others::through_cached);
        let rustis = Arc::clone(&others.rustis);
        rows.row("rustis Cache and serde_json", move |id| {
            others::rustis(Arc::clone(&rustis), id)
        });
        let redis = others.redis.clone();
        rows.row("redis cache and serde_json", move |id| {
            others::redis(redis.clone(), id)
        });
        rows.row("hitbox", others::through_hitbox);
        rows.row("amalgam", others::through_amalgam);
        rows.row("multi-tier-cache", others::through_multi_tier);
        rows.turns.measure(&mut criterion, &name);
    }
    criterion.final_summary();
}

struct Rows<'a> {
    callers: Callers<'a>,
    server: &'a RedisServer,
    group: &'a str,
    turns: Turns<'a>,
}

impl Rows<'_> {
    fn row<F>(&mut self, name: &'static str, call: impl Fn(u64) -> F + Clone + Send + 'static)
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let (callers, group, server) = (self.callers, self.group, self.server);
        let mut filled = false;
        self.turns.row(name, move |count| {
            if !filled {
                filled = true;
                callers.fill(call.clone());
                // What is read from Redis once lies in memory from then on; some promote only one read in ten.
                callers.run(40 * KEYS, call.clone());
                let before = commands(server);
                callers.run(20 * KEYS, call.clone());
                #[expect(clippy::cast_precision_loss, reason = "a small number")]
                let each = (commands(server) - before) as f64 / (20 * KEYS) as f64;
                note(group, name, "commands a hit", &format!("{each:.3}"));
            }
            callers.hits(usize::try_from(count).expect("a count fits"), call.clone())
        });
    }
}

/// How many commands the server has carried out.
fn commands(server: &RedisServer) -> u64 {
    let info = server.cli(&["INFO", "stats"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    let count = line.and_then(|count| count.trim().parse().ok());
    count.expect("the server counts commands")
}
