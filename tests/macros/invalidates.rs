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

/// Looks whether `get(id, "x")` is cached, at every step of a writer.
type Seen<'a> = &'a std::sync::Mutex<Vec<bool>>;

async fn look(id: u64, seen: Seen<'_>) {
    let found = get::peek(id, "x").await.unwrap().is_some();
    seen.lock().unwrap().push(found);
}

#[invalidates(get(id, "x"), before)]
async fn write_before(id: u64, fail: bool, seen: Seen<'_>) -> Result<u64, String> {
    look(id, seen).await;
    // A load between the two removals.
    get(id, "x").await;
    look(id, seen).await;
    if fail { Err(String::new()) } else { Ok(id) }
}

#[invalidates(get(id, "x"), get(result.id, "y"), always)]
async fn write_always(id: u64, fail: bool) -> Result<Written, String> {
    tokio::task::yield_now().await;
    if fail {
        Err(String::new())
    } else {
        Ok(Written { id })
    }
}

#[invalidates(get(id, "x"), get(*result, "y"), if = !name.is_empty() && id != 7)]
async fn write_if(name: String, id: u64) -> Result<u64, String> {
    drop(name);
    tokio::task::yield_now().await;
    Ok(id)
}

#[invalidates(get(id, "x"), if = result.id != 7 && name.len() < 3)]
async fn write_if_result(id: u64, name: String, to: u64) -> Result<Written, std::fmt::Error> {
    drop(name);
    tokio::task::yield_now().await;
    Ok(Written { id: to })
}

#[invalidates(get(id, "x"), before, always, if = id > 1)]
async fn handler_with_all(Path(id): Path<u64>) -> u64 {
    id
}

#[invalidates(get(result, "x"), before, if = result > 1)]
async fn own_result(result: u64) -> u64 {
    result
}

#[tokio::test]
async fn before_removes_twice_and_keeps_a_load_between_out() {
    let cache = Cache::memory();
    cache
        .scope(async {
            for fail in [false, true] {
                let seen = std::sync::Mutex::default();
                get(1, "x").await;
                let result = write_before(1, fail, &seen).await;
                assert_eq!(result.is_err(), fail);
                assert_eq!(*seen.lock().unwrap(), [false, false]);
                assert!(get::peek(1, "x").await.unwrap().is_none());
            }
        })
        .await;
}

#[tokio::test]
async fn before_keeps_its_fence_up_until_the_removal_after() {
    let cache = Cache::memory();
    let write = cache.scope(async {
        let seen = std::sync::Mutex::default();
        get(1, "x").await;
        write_before(1, false, &seen).await.unwrap();
    });
    write.await;
    assert_eq!(cache.stats().prefix("inv.get").fenced, 1);
}

#[tokio::test]
async fn always_removes_on_an_error_what_the_arguments_name() {
    let cache = Cache::memory();
    cache
        .scope(async {
            for fail in [false, true] {
                get(1, "x").await;
                get(1, "y").await;
                assert_eq!(write_always(1, fail).await.is_err(), fail);
                assert!(get::peek(1, "x").await.unwrap().is_none());
                assert_eq!(get::peek(1, "y").await.unwrap().is_some(), fail);
            }
        })
        .await;
}

#[tokio::test]
async fn a_condition_over_arguments_decides_for_all_targets() {
    for (name, id, removed) in [("a", 1, true), ("", 1, false), ("a", 7, false)] {
        // One each: a removal in the background keeps out what is loaded meanwhile.
        let scoped = async {
            get(id, "x").await;
            get(id, "y").await;
            write_if(name.into(), id).await.unwrap();
            assert_eq!(get::peek(id, "x").await.unwrap().is_none(), removed);
            assert_eq!(get::peek(id, "y").await.unwrap().is_none(), removed);
            get(id, "x").await;
            poll_once(write_if(name.into(), id)).await;
            assert_eq!(get::peek(id, "x").await.unwrap().is_none(), removed);
        };
        Cache::memory().scope(scoped).await;
    }
}

#[tokio::test]
async fn a_condition_over_the_result_counts_as_true_where_there_is_none() {
    for (name, to, removed) in [("a", 1, true), ("long", 1, false), ("a", 7, false)] {
        // One each: a removal in the background keeps out what is loaded meanwhile.
        let scoped = async {
            get(1, "x").await;
            write_if_result(1, name.into(), to).await.unwrap();
            assert_eq!(get::peek(1, "x").await.unwrap().is_none(), removed);
            get(1, "x").await;
            poll_once(write_if_result(1, name.into(), to)).await;
            assert!(get::peek(1, "x").await.unwrap().is_none());
        };
        Cache::memory().scope(scoped).await;
    }
}

#[tokio::test]
async fn options_go_together() {
    let cache = Cache::memory();
    cache
        .scope(async {
            for (id, removed) in [(1, false), (2, true)] {
                get(id, "x").await;
                handler_with_all(Path(id)).await;
                assert_eq!(get::peek(id, "x").await.unwrap().is_none(), removed);
                get(id, "x").await;
                own_result(id).await;
                assert_eq!(get::peek(id, "x").await.unwrap().is_none(), removed);
            }
        })
        .await;
}

/// Polls a writer once, which must not end it, and drops it.
async fn poll_once<F: Future>(writing: F) {
    let mut writing = Box::pin(writing);
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(writing.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
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
            poll_once(write(1, "a".into())).await;
            assert!(get::peek(1, "a").await.unwrap().is_none());
        })
        .await;
}

#[test]
fn a_writer_is_send_though_its_error_is_not() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&write(1, String::new()));
}

#[cached(ttl = 60, prefix = "inv.text")]
async fn text(id: &str) -> usize {
    id.len()
}

#[invalidates(text(id))]
async fn write_text(id: &str) -> usize {
    id.len()
}

#[invalidates(pattern = "inv.text:id={id}")]
async fn write_text_by_pattern(id: &str) -> usize {
    id.len()
}

#[invalidates(text::matching())]
async fn write_all_texts() {}

#[tokio::test]
async fn scar_10_an_argument_with_wildcards_removes_one_entry() {
    let there = async |id| text::peek(id).await.unwrap().is_some();
    Cache::memory()
        .scope(async {
            for id in ["*", "a", "?", "[a-z]"] {
                for by_pattern in [false, true] {
                    text(id).await;
                    text("b").await;
                    if by_pattern {
                        write_text_by_pattern(id).await;
                    } else {
                        write_text(id).await;
                    }
                    assert!(!there(id).await, "{id}");
                    assert!(there("b").await, "{id}");
                }
            }
        })
        .await;
}

#[tokio::test]
async fn matching_without_a_part_names_all_calls() {
    Cache::memory()
        .scope(async {
            text("a").await;
            text("b").await;
            get(1, "x").await;
            write_all_texts().await;
            assert!(text::peek("a").await.unwrap().is_none());
            assert!(text::peek("b").await.unwrap().is_none());
            assert!(get::peek(1, "x").await.unwrap().is_some());
        })
        .await;
}
