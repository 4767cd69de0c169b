//! A service that starts without its Redis, and works.
//!
//! `REDIS_URL` says where Redis should be; without it, this looks at a port where nobody listens. Start a server there
//! while it runs, or stop one that is there, and watch the log: one line a change.

use std::env;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use dexter_cache::{Cache, cached};

#[cached(ttl = "5m", prefix = "report")]
async fn report(day: u32) -> String {
    tokio::time::sleep(Duration::from_millis(100)).await;
    format!("report of day {day}")
}

#[tokio::main]
async fn main() -> Result<(), dexter_cache::Error> {
    tracing_subscriber::fmt()
        .without_time()
        .with_ansi(std::io::stdout().is_terminal())
        .init();
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:1/0".to_owned());

    // No error: the address is sound, and the server may come later.
    let cache = Cache::builder()
        .redis(&url)
        .namespace("outage-example")
        .build()
        .await?;
    cache.install()?;

    for round in 1..=5 {
        for day in 1..=2 {
            let began = Instant::now();
            let value = report(day).await;
            println!(
                "round {round}: {value} in {:>7.2} ms",
                began.elapsed().as_secs_f64() * 1e3
            );
        }
        if round == 3 {
            // Acts here at once. With Redis away it is written down, and done there before Redis is trusted again.
            let done = report::remove(1).await?;
            println!("removed day 1: {done:?}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    println!("health: {:?}", cache.health());
    cache.close().await;
    Ok(())
}
