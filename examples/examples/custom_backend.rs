//! A backend of one's own: whatever can store bytes can stand behind a cache.
//!
//! Two caches on one backend play two processes of a service. A backend that implements compare and set, as this one
//! does, lets them share loads and never keep what was invalidated.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use dexter_cache::backend::{CacheBackend, Capabilities, KeyFilter, Pong, SetOutcome, When};
use dexter_cache::{Cache, Error, Key, KeyPattern, Ttl};

/// A map behind a lock, which a real one would replace by a database or a network.
#[derive(Debug, Clone, Default)]
struct MapBackend {
    entries: Arc<Mutex<HashMap<String, (Bytes, Instant)>>>,
}

impl MapBackend {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, (Bytes, Instant)>) -> T) -> T {
        let mut entries = self.entries.lock().unwrap();
        let now = Instant::now();
        entries.retain(|_, (_, until)| *until > now);
        act(&mut entries)
    }
}

#[async_trait]
impl CacheBackend for MapBackend {
    fn name(&self) -> &'static str {
        "map"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        println!("    get {key}");
        Ok(self.with(|entries| entries.get(key).map(|(value, _)| value.clone())))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        Ok(self.with(|entries| {
            keys.iter()
                .map(|key| entries.get(*key).map(|(value, _)| value.clone()))
                .collect()
        }))
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        when: When<'_>,
    ) -> Result<SetOutcome, Error> {
        println!("    set {key} ({} bytes)", value.len());
        Ok(self.with(|entries| {
            let present = entries.get(key).map(|(value, _)| value.clone());
            let allowed = match when {
                When::Absent if present.is_some() => return SetOutcome::Refused(present),
                When::Absent | When::Always => true,
                When::Matches(start) => present.is_some_and(|present| present.starts_with(start)),
                // Conditions that later versions may add: to refuse is always safe.
                _ => false,
            };
            if !allowed {
                return SetOutcome::Refused(None);
            }
            entries.insert(key.to_owned(), (value, Instant::now() + ttl));
            SetOutcome::Stored
        }))
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
        println!("    remove {}", keys.join(" "));
        Ok(self.with(|entries| {
            keys.iter()
                .map(|key| u64::from(entries.remove(*key).is_some()))
                .sum()
        }))
    }

    async fn remove_matching(
        &self,
        pattern: &KeyPattern,
        filter: KeyFilter<'_>,
    ) -> Result<u64, Error> {
        println!("    remove what matches {pattern}");
        Ok(self.with(|entries| {
            let before = entries.len();
            entries.retain(|key, _| {
                let key = key.as_bytes();
                !(pattern.matches(key) && filter.is_none_or(|allows| allows(key)))
            });
            (before - entries.len()) as u64
        }))
    }

    async fn ping(&self) -> Result<Pong, Error> {
        Ok(Pong::default())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let shared = MapBackend::default();
    let one = Cache::builder().backend(shared.clone()).build().await?;
    let two = Cache::builder().backend(shared).build().await?;
    let key = Key::new("greeting").part("name", "Ada");

    println!("one loads:");
    let greeting = one
        .get_or_load(&key, Ttl::secs(60), || async { "hello Ada".to_owned() })
        .await;
    println!("  {greeting}");

    // What was loaded is stored behind the answer, so that no caller waits for it.
    tokio::time::sleep(Duration::from_millis(20)).await;

    println!("two finds it:");
    let greeting = two
        .get_or_load(&key, Ttl::secs(60), || async { "not called".to_owned() })
        .await;
    println!("  {greeting}");
    assert_eq!(greeting, "hello Ada");

    println!("two removes it:");
    let done = two.remove(&key).await?;
    println!("  {} removed, {:?}", done.removed, done.reach);

    println!("one loads again:");
    let greeting = one
        .get_or_load(&key, Ttl::secs(60), || async { "welcome back".to_owned() })
        .await;
    println!("  {greeting}");
    assert_eq!(greeting, "welcome back");

    one.close().await;
    two.close().await;
    Ok(())
}
