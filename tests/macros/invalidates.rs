//! What `#[invalidates]` removes, and when.

use std::error::Error;

use axum::extract::Path;
use dexter_cache::{Cache, cached, invalidates};

#[cached(ttl = 60, prefix = "inv.get")]
async fn get(id: u64, name: &str) -> u64 {
    id + u64::from(name.is_empty())
}

mod lists {
    #[dexter_cache::cached(ttl = 60, prefix = "inv.list", key(T), skip(_kind))]
    pub(super) async fn list<T: 'static>(
        organization: String,
        _kind: std::marker::PhantomData<T>,
    ) -> u64 {
        organization.len() as u64
    }
}

#[derive(Debug, Clone)]
struct Written {
    id: u64,
}

/// By name, by path, by pattern, by key; the arguments stay whole for the body.
#[invalidates(get(id, &name), lists::list::<u8>(name), pattern = "inv.pages:{name}*", key = "inv.raw:{id}{{}}")]
async fn write(id: u64, name: String) -> Result<String, Box<dyn Error>> {
    tokio::task::yield_now().await;
    if id == 0 {
        Err("zero")?;
    }
    Ok(name)
}

#[invalidates(get(result.id, &name))]
async fn create(name: String, Path(id): Path<u64>) -> Result<Written, std::fmt::Error> {
    drop(name);
    Ok(Written { id })
}

#[invalidates(get(id, "x"), get(result.id, "y"))]
async fn handler(Path(id): Path<u64>) -> Written {
    Written { id: id + 1 }
}

#[invalidates(get(id, "x"))]
async fn unnamed(id: u64) -> impl axum::response::IntoResponse {
    id.to_string()
}

struct Store {
    organization: String,
    cache: Cache,
}

impl Store {
    #[cached(ttl = 60, prefix = "inv.method", cache = self.cache, key(organization = self.organization))]
    async fn read(&self, id: u64) -> u64 {
        id
    }

    #[cached(assoc, ttl = 60, prefix = "inv.assoc")]
    async fn fixed(id: u64) -> u64 {
        id
    }

    #[invalidates(Self::read(id), cache = self.cache)]
    async fn write(&self, id: u64) -> u64 {
        id
    }

    #[invalidates(self.read(id), Self::fixed(id), Store::fixed(id), cache = self.cache)]
    async fn write_both(&mut self, id: u64) -> u64 {
        self.organization.len() as u64 + id
    }

    #[invalidates(Self::fixed(id), pattern = "inv.method:organization={id}*")]
    async fn write_fixed(id: u64) -> u64 {
        id
    }
}

#[async_trait::async_trait]
trait Writes {
    async fn save(&self, id: u64) -> Result<u64, std::fmt::Error>;
}

#[async_trait::async_trait]
impl Writes for Store {
    #[invalidates(Self::read(id), pattern = "{self.organization}:*", cache = self.cache)]
    async fn save(&self, id: u64) -> Result<u64, std::fmt::Error> {
        Ok(id)
    }
}

#[tokio::test]
async fn an_ok_removes_what_was_named() {
    let cache = Cache::memory();
    cache
        .scope(async {
            get(1, "a").await;
            get(2, "a").await;
            let _ = write(1, "a".into()).await.unwrap();
            assert!(get::peek(1, "a").await.unwrap().is_none());
            assert!(get::peek(2, "a").await.unwrap().is_some());
        })
        .await;
}

#[tokio::test]
async fn an_error_removes_nothing() {
    let cache = Cache::memory();
    cache
        .scope(async {
            get(0, "a").await;
            assert!(write(0, "a".into()).await.is_err());
            assert!(get::peek(0, "a").await.unwrap().is_some());
        })
        .await;
}

#[tokio::test]
async fn targets_can_use_the_result() {
    let cache = Cache::memory();
    cache
        .scope(async {
            get(1, "n").await;
            get(1, "x").await;
            get(2, "y").await;
            create("n".into(), Path(1)).await.unwrap();
            assert!(get::peek(1, "n").await.unwrap().is_none());
            assert!(get::peek(1, "x").await.unwrap().is_some());
            handler(Path(1)).await;
            assert!(get::peek(1, "x").await.unwrap().is_none());
            assert!(get::peek(2, "y").await.unwrap().is_none());
            get(1, "x").await;
            let _ = unnamed(1).await;
            assert!(get::peek(1, "x").await.unwrap().is_none());
        })
        .await;
}

#[tokio::test]
async fn methods_name_methods() {
    let mut store = Store {
        organization: "o".into(),
        cache: Cache::memory(),
    };
    store.read(1).await;
    store.write(1).await;
    assert!(store.read_peek(1).await.unwrap().is_none());
    store.read(1).await;
    store.write_both(1).await;
    assert!(store.read_peek(1).await.unwrap().is_none());
    store.read(1).await;
    store.save(1).await.unwrap();
    assert!(store.read_peek(1).await.unwrap().is_none());
    Store::write_fixed(1).await;
}

#[tokio::test]
async fn a_writer_that_is_dropped_invalidates() {
    let cache = Cache::memory();
    cache
        .scope(async {
            get(1, "a").await;
            let mut writing = Box::pin(write(1, "a".into()));
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(
                    writing.as_mut().poll(cx).is_pending()
                ))
                .await
            );
            drop(writing);
            assert!(get::peek(1, "a").await.unwrap().is_none());
        })
        .await;
}

#[test]
fn a_writer_is_send_though_its_error_is_not() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&write(1, String::new()));
}
