//! Methods: what of `self` is in the key, and which cache.

use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::{Cache, cached, invalidates};

/// A client of some slow API, with a cache of its own.
struct Sentry {
    organization: String,
    cache: Cache,
    calls: AtomicU32,
}

impl Sentry {
    fn new(organization: &str, cache: &Cache) -> Self {
        Self {
            organization: organization.into(),
            cache: cache.clone(),
            calls: AtomicU32::new(0),
        }
    }

    /// Two clients share a cache here, so the organization belongs into the key.
    #[cached(ttl = "10m", prefix = "events", cache = self.cache, key(organization = self.organization))]
    async fn events(&self, project: &str) -> String {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}/{project} as of call {call}", self.organization)
    }

    #[invalidates(Self::events(project), cache = self.cache)]
    async fn delete_events(&self, project: &str) -> Result<(), String> {
        println!("  ({} deletes the events of {project})", self.organization);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::memory();
    let (ours, theirs) = (Sentry::new("myorg", &cache), Sentry::new("acme", &cache));

    println!("{}", ours.events("web").await);
    println!("{}", ours.events("web").await);
    println!("{}", theirs.events("web").await);
    println!("key: {}", ours.events_key("web"));

    ours.delete_events("web").await?;
    println!("{}", ours.events("web").await);
    println!("{}", theirs.events("web").await);
    assert_eq!(ours.calls.load(Ordering::Relaxed), 2);
    assert_eq!(theirs.calls.load(Ordering::Relaxed), 1);
    Ok(())
}
