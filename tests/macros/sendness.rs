//! A future is `Send` exactly when the body's is.

use std::error::Error;
use std::rc::Rc;

use dexter_cache::cached;

fn is_send<T: Send>(_: &T) {}

/// Autoref once more: false where `T` is not `Send`.
struct Ask<T>(T);
trait Yes {
    fn is_send(&self) -> bool {
        true
    }
}
trait No {
    fn is_send(&self) -> bool {
        false
    }
}
impl<T: Send> Yes for &Ask<T> {}
impl<T> No for Ask<T> {}

#[cached(ttl = 1, prefix = "sendness.sends")]
async fn sends(id: u64, name: &str) -> u64 {
    tokio::task::yield_now().await;
    id + u64::from(name.is_empty())
}

#[cached(ttl = 1, prefix = "sendness.stays")]
async fn stays(id: u64, name: &str) -> u64 {
    let rc = Rc::new(id);
    tokio::task::yield_now().await;
    *rc + u64::from(name.is_empty())
}

/// Neither is its error `Send`, nor its argument `Clone`.
#[cached(ttl = 1, prefix = "sendness.error", skip(handle))]
async fn boxed_error(id: u64, handle: &NoClone) -> Result<u64, Box<dyn Error>> {
    tokio::task::yield_now().await;
    Ok(handle.0.parse::<u64>()? + id)
}

struct NoClone(String);

#[cached(ttl = 1, prefix = "sendness.generic", key(T))]
async fn generic<T: dexter_cache::CacheKey + ToString>(value: T) -> String {
    tokio::task::yield_now().await;
    value.to_string()
}

fn in_generic<T: dexter_cache::CacheKey + ToString + Send + Sync>(value: T) {
    is_send(&generic(value));
}

#[test]
#[expect(
    clippy::needless_borrow,
    reason = "the references are what chooses the method"
)]
fn it_is_that_of_the_body() {
    is_send(&sends(1, "a"));
    is_send(&boxed_error(1, &NoClone(String::new())));
    is_send(&generic(1));
    in_generic("a");
    assert!((&&Ask(sends(1, "a"))).is_send());
    assert!(!(&&Ask(stays(1, "a"))).is_send());
    is_send(&sends::peek(1, "a"));
    is_send(&sends::remove(1, "a"));
    is_send(&sends::refresh(1, "a"));
    is_send(&sends::warm(1, "a"));
    is_send(&boxed_error::peek(1));
}

#[tokio::test]
async fn what_is_not_send_runs() {
    assert_eq!(stays(1, "").await, 2);
    assert_eq!(boxed_error(1, &NoClone("2".into())).await.ok(), Some(3));
    assert!(boxed_error(2, &NoClone("x".into())).await.is_err());
    assert_eq!(sends(1, "").await, 2);
    assert_eq!(generic(1).await, "1");
}
