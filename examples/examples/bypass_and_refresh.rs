//! One call past the cache, or one that replaces what the cache holds.
//!
//! `bypass` neither reads nor writes. `refresh` does not read, but writes, and never joins a load that began before it.

use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, bypass, cached, refresh};

static RATE: AtomicU32 = AtomicU32::new(100);

#[cached(ttl = "1h", prefix = "exchange_rate")]
async fn exchange_rate(currency: &str) -> u32 {
    let _ = currency;
    RATE.load(Ordering::Relaxed)
}

#[tokio::main]
async fn main() -> Result<(), dexter_cache::Error> {
    Cache::memory().install()?;

    println!("first call:           {}", exchange_rate("EUR").await);
    RATE.store(107, Ordering::Relaxed);
    println!("the rate has moved");
    println!("cached:               {}", exchange_rate("EUR").await);
    println!(
        "bypass:               {}",
        bypass(exchange_rate("EUR")).await
    );
    println!("cached, as before:    {}", exchange_rate("EUR").await);
    println!(
        "refresh:              {}",
        refresh(exchange_rate("EUR")).await
    );
    println!("cached, from now on:  {}", exchange_rate("EUR").await);
    assert_eq!(exchange_rate("EUR").await, 107);

    // A mode covers everything under it, however deep.
    let report = async { (exchange_rate("EUR").await, exchange_rate("USD").await) };
    println!("a whole report, past the cache: {:?}", bypass(report).await);

    // The companion of an annotated function says the same about one key.
    RATE.store(110, Ordering::Relaxed);
    println!(
        "peek:                 {:?}",
        exchange_rate::peek("EUR").await?
    );
    println!(
        "companion's refresh:  {}",
        exchange_rate::refresh("EUR").await
    );
    Ok(())
}
