//! What is logged: one line for each change of state, and never a value or a password.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use dexter_cache::backend::{RedisBackend, RedisConfig};
use dexter_cache::{Cache, Key, Serving, Ttl};
use support::{PATIENCE, Proxy, RedisServer};
use tracing_subscriber::fmt::MakeWriter;

const MINUTE: Ttl = Ttl::secs(60);

fn key(id: u32) -> Key {
    Key::new("logs").part("id", &id)
}

async fn until(cache: &Cache, serving: Serving) {
    let changed = async {
        while cache.health().serving != serving {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed)
        .await
        .expect("the change is noticed");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        let bytes = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        String::from_utf8(bytes).expect("logs are text")
    }

    fn count(&self, what: &str) -> usize {
        self.text()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Unwritable(String);

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(format!(
            "cannot write {}",
            self.0
        )))
    }
}

impl<'de> serde::Deserialize<'de> for Unwritable {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde::Deserialize::deserialize(from).map(Self)
    }
}

// The only test of its binary: whether an event is of interest is remembered for all threads.
#[tokio::test]
async fn scar_6_one_line_for_each_change_of_state_and_no_secret_in_any() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let server = RedisServer::start_with(&["--requirepass", "topsecretpassword"]);
    let url = format!("redis://:topsecretpassword@127.0.0.1:{}/0", server.port());
    // No deadline that a busy machine exceeds: the only changes of state are those that the test makes.
    let config = RedisConfig::parse(&url).unwrap();
    let config = config.connect_timeout(PATIENCE).sweep_timeout(PATIENCE);
    let builder = Cache::builder().backend(RedisBackend::new(config));
    let cache = builder.budget(PATIENCE).build().await.unwrap();
    until(&cache, Serving::Backend).await;
    for round in 0..2 {
        for id in 0..20 {
            let load = || async { "topsecretvalue".to_owned() };
            cache.get_or_load(&key(id), MINUTE, load).await;
        }
        cache
            .get_or_load(&key(99), MINUTE, || async {
                Unwritable("topsecretvalue".into())
            })
            .await;
        cache.clear().await.unwrap();
        server.kill9();
        until(&cache, Serving::Memory).await;
        for id in 0..20 {
            let load = || async { "topsecretvalue".to_owned() };
            cache.get_or_load(&key(id), MINUTE, load).await;
            cache.remove(&key(id)).await.unwrap();
        }
        assert_eq!(lines.count("cache backend lost"), round + 1);
        server.restart();
        until(&cache, Serving::Backend).await;
        assert_eq!(
            lines.count("cache backend in use"),
            round + 2,
            "{}",
            lines.text()
        );
    }
    refusals_are_one_line(&lines).await;
    let refused = cache
        .set(&key(1), &Unwritable("topsecretvalue".into()), MINUTE)
        .await;
    let refused = format!("{0} {0:?} {cache:?}", refused.unwrap_err());
    for text in [lines.text(), refused] {
        assert!(!text.contains("topsecret"), "{text}");
    }
    let warnings = lines
        .text()
        .lines()
        .filter(|line| line.contains("WARN"))
        .count();
    assert!(warnings <= 8, "{warnings} warnings:\n{}", lines.text());
}

/// However many removals were made during an outage that the server then refuses.
async fn refusals_are_one_line(lines: &Lines) {
    let server = RedisServer::start();
    let rights = ["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"];
    server.cli(&[&rights[..], &["-unlink", "-del"]].concat());
    let proxy = Proxy::start(server.port());
    let url = proxy.url().replace("redis://", "redis://app:pw@");
    let config = RedisConfig::parse(&url).unwrap().connect_timeout(PATIENCE);
    let builder = Cache::builder().backend(RedisBackend::new(config));
    let cache = builder.budget(PATIENCE).build().await.unwrap();
    until(&cache, Serving::Backend).await;
    proxy.refuse();
    proxy.cut();
    until(&cache, Serving::Memory).await;
    for id in 0..50 {
        cache.remove(&key(id)).await.unwrap();
    }
    proxy.accept_new();
    until(&cache, Serving::Backend).await;
    let told = lines.count("removals made during the outage are refused");
    assert_eq!(told, 1, "{}", lines.text());
    assert_eq!(lines.count("refused=50"), 1);
}
