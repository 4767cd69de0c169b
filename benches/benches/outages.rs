//! What does a call pay while Redis is well, gone, hung, slow or flapping? And how many loads do cold callers of many
//! processes cause? Prints two tables; nothing of it is criterion's, since a median of medians says nothing about an
//! outage.
//!
//! Each state has its own server and proxy. Eight tasks call for two seconds, with a load that costs nothing, so that
//! what is left is the cache's own time. The first table tells the calls of the first 300 ms after the blow apart from
//! those after.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benches::{Latencies, keep};
use dexter_cache::{Cache, Key, Ttl};
use support::{Proxy, RedisServer};

const TASKS: usize = 8;
const KEYS: u64 = 1_000;
const MEASURED: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_millis(300);

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--process");
    if args.next().is_some() {
        let [url, callers] =
            [args.next(), args.next()].map(|arg| arg.expect("given by the parent"));
        process(&url, callers.parse().expect("a number"));
        return;
    }
    println!("| Redis | calls | first 300 ms: worst | later: p50 | p99 | p99.9 |");
    println!("|---|---|---|---|---|---|");
    for state in [
        State::Memory,
        State::Healthy,
        State::Refused,
        State::Hung,
        State::Slow,
        State::Flapping,
    ] {
        state.measure();
    }
    println!();
    println!("| callers in each process | 1 process | 2 processes | 4 processes |");
    println!("|---|---|---|---|");
    for callers in [10, 1_000, 10_000] {
        let loads = [1, 2, 4].map(|processes| {
            let loads = loads(processes, callers).to_string();
            let row = format!("{callers} callers in each process");
            let what = format!("{processes} processes");
            keep("cold callers, loads", &row, &what, &loads);
            loads
        });
        println!("| {callers} | {} |", loads.join(" | "));
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Memory,
    Healthy,
    Refused,
    Hung,
    Slow,
    Flapping,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "none: memory alone",
            Self::Healthy => "well",
            Self::Refused => "gone (connections refused)",
            Self::Hung => "hung (stopped)",
            Self::Slow => "slow (200 ms a reply)",
            Self::Flapping => "flapping (away every other 250 ms)",
        }
    }

    fn measure(self) {
        let runtime = runtime();
        let server = RedisServer::start();
        let proxy = Arc::new(Proxy::start(server.port()));
        let cache = runtime.block_on(async {
            if matches!(self, Self::Memory) {
                return Cache::memory();
            }
            let builder = Cache::builder().redis(proxy.url()).namespace("bench");
            builder.build().await.expect("the address is good")
        });
        runtime.block_on(async {
            for id in 0..KEYS {
                call(&cache, id).await;
            }
            // The last fills are behind their answers.
            tokio::time::sleep(Duration::from_millis(200)).await;
        });
        match self {
            Self::Memory | Self::Healthy | Self::Flapping => {}
            Self::Refused => server.kill9(),
            Self::Hung => server.pause(),
            Self::Slow => proxy.delay(Duration::from_millis(100)),
        }
        let flapping = matches!(self, Self::Flapping).then(|| {
            let proxy = Arc::clone(&proxy);
            std::thread::spawn(move || {
                let begun = Instant::now();
                while begun.elapsed() < MEASURED {
                    proxy.refuse();
                    proxy.cut();
                    std::thread::sleep(Duration::from_millis(250));
                    proxy.accept_new();
                    std::thread::sleep(Duration::from_millis(250));
                }
            })
        });
        let begun = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let cache = cache.clone();
                runtime.spawn(async move {
                    let (mut first, mut later) = (Latencies::default(), Latencies::default());
                    let mut calls = 0_u64;
                    while begun.elapsed() < MEASURED {
                        let asked = Instant::now();
                        call(&cache, fastrand::u64(..KEYS)).await;
                        let took = asked.elapsed();
                        calls += 1;
                        if asked.duration_since(begun) < FIRST {
                            first.push(took);
                        } else {
                            later.push(took);
                        }
                        // As a handler does now and then: a memory hit alone never lets the others run.
                        tokio::task::yield_now().await;
                    }
                    (first, later, calls)
                })
            })
            .collect();
        let (mut first, mut later, mut calls) = (Latencies::default(), Latencies::default(), 0);
        for task in tasks {
            let (of_first, of_later, of_calls) = runtime.block_on(task).expect("no call panics");
            first.append(of_first);
            later.append(of_later);
            calls += of_calls;
        }
        if let Some(flapping) = flapping {
            flapping.join().expect("the proxy does as it is told");
        }
        if matches!(self, Self::Hung) {
            server.resume();
        }
        for (what, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let figure = later.percentile(part).as_secs_f64() * 1e6;
            keep("outages", self.name(), what, &format!("{figure:.1} µs"));
        }
        println!(
            "| {} | {calls} | {:.1?} | {:.1?} | {:.1?} | {:.1?} |",
            self.name(),
            first.percentile(1.0),
            later.percentile(0.5),
            later.percentile(0.99),
            later.percentile(0.999),
        );
    }
}

async fn call(cache: &Cache, id: u64) -> u64 {
    let key = Key::new("outage").part("id", &id);
    cache
        .get_or_load(&key, Ttl::secs(300), || async move { id })
        .await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// How many loads `callers` calls in each of `processes` processes cause, all of one cold key.
fn loads(processes: usize, callers: usize) -> u64 {
    let server = RedisServer::start();
    // A namespace that has been used before: the first fill of all makes what stands for it as a whole.
    runtime().block_on(async {
        let builder = Cache::builder().redis(server.url()).namespace("bench");
        let cache = builder.build().await.expect("the address is good");
        call(&cache, 0).await;
        assert!(cache.close().await, "stored");
    });
    let program = std::env::current_exe().expect("this program");
    let mut children: Vec<_> = (0..processes)
        .map(|_| {
            let mut child = Command::new(&program)
                .args(["--process", &server.url(), &callers.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("this program runs");
            let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"));
            (child, lines)
        })
        .collect();
    for (child, _) in &mut children {
        let stdin = child.stdin.as_mut().expect("piped");
        writeln!(stdin, "go").expect("it listens");
    }
    children
        .into_iter()
        .map(|(mut child, mut lines)| {
            let loads = lines.next().and_then(Result::ok).expect("a line");
            child.wait().expect("it ends");
            loads.parse::<u64>().expect("a number")
        })
        .sum()
}

/// One of the processes: waits for the word, calls, says how many loads there were.
fn process(url: &str, callers: usize) {
    let runtime = runtime();
    let cache = runtime
        .block_on(Cache::builder().redis(url).namespace("bench").build())
        .expect("the address is good");
    while !cache.health().is_whole() {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("ready");
    let mut word = String::new();
    std::io::stdin()
        .read_line(&mut word)
        .expect("the parent's word");
    let loads = Arc::new(AtomicU64::new(0));
    let key = Key::new("outage").part("id", "cold");
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (cache, loads, key) = (cache.clone(), Arc::clone(&loads), key.clone());
            runtime.spawn(async move {
                let load = || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    7_u64
                };
                cache.get_or_load(&key, Ttl::secs(300), load).await
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).expect("no call panics");
    }
    println!("{}", loads.load(Ordering::SeqCst));
}
