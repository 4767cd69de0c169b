//! What does a hit in Redis cost, with 1, 16, 128 and 512 tasks asking at once?
//!
//! Beside `dexter-cache` (the annotated function, default features, Redis behind the cache): the bare multiplexed
//! connection with GET and `serde_json`, which is the base of the ratios, and GET alone. That connection has what the `redis`
//! crate sets by default, where the kernel holds small packets back until earlier ones are acknowledged: over loopback
//! that makes few packets of many commands at no cost, over a network it costs round trips. `dexter-cache` turns that off,
//! hence a row of the bare connection with `TCP_NODELAY`. `fred` and `rustis`, two other clients, with `serde_json`; `cached`'s Redis store and `hitbox` over Redis, both with the codec that they choose (`MessagePack`,
//! bincode: less to decode than JSON). The server is started here, on a free port. Of 8192 keys each task has its
//! own: callers of one key would share a read, here and nowhere else. A time is that of one hit, all tasks together, and the rows of a group
//! are measured in turns, each of which asserts that nothing was loaded and that Redis was there; p50 and p99 of single calls are measured apart
//! and noted.

#[path = "../shared/hitbox_answer.rs"]
mod hitbox_answer;
mod others;
#[path = "../shared/tasks.rs"]
mod tasks;

use std::future::Future;
use std::time::Duration;

use benches::{ApiError, Issue, Turns, note};
use criterion::Criterion;
use dexter_cache::{Cache, cached};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo};
use support::RedisServer;
use tokio::runtime::Builder;

use crate::tasks::Callers;

const KEYS: usize = 8192;
const CALLS_FOR_LATENCY: usize = 20_000;
const TURNS: usize = 25;
const TURN: Duration = Duration::from_millis(40);

#[cached(ttl = "1h", prefix = "redis_hit")]
async fn issue(path: &str, id: u64) -> Result<Issue, ApiError> {
    let _ = path;
    Ok(Issue::sample(id))
}

async fn through_cache(id: u64) -> u64 {
    issue("/api/v1/issues", id).await.expect("an issue").id
}

fn bare_key(id: u64) -> String {
    format!("bare:id={id}&path=/api/v1/issues")
}

async fn bare(mut connection: MultiplexedConnection, id: u64) -> u64 {
    let bytes: Vec<u8> = connection.get(bare_key(id)).await.expect("the value");
    let issue: Issue = serde_json::from_slice(&bytes).expect("an issue");
    issue.id
}

async fn bytes_alone(mut connection: MultiplexedConnection, id: u64) -> u64 {
    let bytes: Vec<u8> = connection.get(bare_key(id)).await.expect("the value");
    bytes.len() as u64
}

fn main() {
    let server = RedisServer::start();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (cache, connection, undelayed, others) = runtime.block_on(async {
        let cache = Cache::builder()
            .redis(server.url())
            .build()
            .await
            .expect("a cache");
        let mut connection = connect(&server, false).await;
        for id in 0..KEYS as u64 {
            let json = serde_json::to_vec(&Issue::sample(id)).expect("JSON");
            let _: () = connection.set(bare_key(id), json).await.expect("stored");
        }
        let undelayed = connect(&server, true).await;
        (
            cache,
            connection,
            undelayed,
            others::connect(&server.url()).await,
        )
    });
    let mut criterion = Criterion::default()
        .nresamples(5_000)
        .without_plots()
        .configure_from_args();
    for tasks in [1, 16, 128, 512] {
        let name = format!("redis_hit {tasks}");
        let mut rows = Rows {
            callers: Callers {
                runtime: &runtime,
                cache: &cache,
                tasks,
                keys: KEYS,
            },
            group: &name,
            turns: if tasks == 1 {
                // Where nothing else is to do the system is sometimes asleep and sometimes not, for a while each: many
                // short turns, so that all rows meet both.
                Turns::of(8 * TURNS, TURN / 8)
            } else {
                Turns::of(TURNS, TURN)
            },
        };
        rows.row("dexter-cache", through_cache);
        let for_values = connection.clone();
        rows.row("GET and serde_json", move |id| bare(for_values.clone(), id));
        let undelayed = undelayed.clone();
        rows.row("GET and serde_json, TCP_NODELAY", move |id| {
            bare(undelayed.clone(), id)
        });
        let for_bytes = connection.clone();
        rows.row("GET alone", move |id| bytes_alone(for_bytes.clone(), id));
        let fred = others.fred.clone();
        rows.row("fred and serde_json", move |id| {
            others::fred(fred.clone(), id)
        });
        let rustis = others.rustis.clone();
        rows.row("rustis and serde_json", move |id| {
            others::rustis(rustis.clone(), id)
        });
        rows.row("cached", others::through_cached);
        rows.row("hitbox", others::through_hitbox);
        rows.turns.measure(&mut criterion, &name);
    }
    criterion.final_summary();
}

async fn connect(server: &RedisServer, nodelay: bool) -> MultiplexedConnection {
    let to = server.url().into_connection_info().expect("an address");
    let to = to.set_tcp_settings(TcpSettings::default().set_nodelay(nodelay));
    Client::open(to)
        .expect("an address")
        .get_multiplexed_async_connection()
        .await
        .expect("a connection")
}

struct Rows<'a> {
    callers: Callers<'a>,
    group: &'a str,
    turns: Turns<'a>,
}

impl Rows<'_> {
    fn row<F>(&mut self, name: &'static str, call: impl Fn(u64) -> F + Clone + Send + 'static)
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let (callers, group) = (self.callers, self.group);
        let mut filled = false;
        self.turns.row(name, move |count| {
            if !filled {
                filled = true;
                callers.fill(call.clone());
                let calls = CALLS_FOR_LATENCY.max(callers.tasks * 50);
                let mut latencies = callers.latencies(calls, call.clone());
                for (what, part) in [("p50", 0.5), ("p99", 0.99)] {
                    let figure = latencies.percentile(part).as_secs_f64() * 1e6;
                    note(group, name, what, &format!("{figure:.0} µs"));
                }
            }
            callers.hits(usize::try_from(count).expect("a count fits"), call.clone())
        });
    }
}
