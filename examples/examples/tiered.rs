//! Memory in front of Redis, kept coherent by Redis: two caches stand for two processes.
//!
//! It needs a Redis, `REDIS_URL` or one on the usual port. Without one it says so and ends.

use std::env;
use std::time::{Duration, Instant};

use dexter_cache::{Cache, Error, Key, Ttl};

async fn process(url: &str) -> Result<Cache, Error> {
    Cache::builder()
        .redis(url)
        .namespace("tiered-example")
        .tiered()
        .build()
        .await
}

/// A thousand reads, and what one of them took.
async fn read(cache: &Cache, key: &Key) -> Result<Option<String>, Error> {
    let began = Instant::now();
    let mut value = None;
    for _ in 0..1000 {
        value = cache.get(key).await?;
    }
    let each = began.elapsed() / 1000;
    println!("  {value:?}, {each:?} a read");
    Ok(value)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379/0".to_owned());
    let (here, there) = (process(&url).await?, process(&url).await?);
    if !here.health().is_whole() {
        println!("There is no Redis at the address that REDIS_URL names. Start one and try again.");
        return Ok(());
    }
    if !here.health().watching {
        println!("This Redis tells of no changes: values stay in memory for seconds only.");
    }
    let key = Key::new("greeting").part("language", "en");
    let minute = Ttl::secs(60);

    println!("one process writes, the other one reads: once from Redis, then from its own memory");
    there.set(&key, &"hello".to_owned(), minute).await?;
    read(&here, &key).await?;

    println!("the first one changes it, and Redis tells the other one");
    there.set(&key, &"good morning".to_owned(), minute).await?;
    let began = Instant::now();
    while here.get::<String>(&key).await?.as_deref() != Some("good morning") {
        // Within a round trip, and far less than this where Redis is near.
        tokio::time::sleep(Duration::from_micros(50)).await;
        if began.elapsed() > Duration::from_secs(10) {
            println!(
                "  Redis has not told of it, or was lost meanwhile: {:?}",
                here.health()
            );
            break;
        }
    }
    println!("  told within {:?}", began.elapsed());
    read(&here, &key).await?;

    here.remove(&key).await?;
    println!("health: {:?}", here.health());
    here.close().await;
    there.close().await;
    Ok(())
}
