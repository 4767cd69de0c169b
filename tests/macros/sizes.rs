//! A future is as large as its arguments and 64 bytes, whatever the body.

use std::hint::black_box;

use dexter_cache::cached;

#[cached(ttl = 1, prefix = "sizes.large")]
async fn large(a: String, b: String, c: [u64; 32]) -> u64 {
    let page = black_box([1_u8; 4096]);
    tokio::task::yield_now().await;
    u64::from(black_box(&page)[a.len() + b.len()]) + c[0]
}

#[cached(ttl = 1, prefix = "sizes.borrowed")]
async fn borrowed<'a>(a: &'a str, b: Option<&'a str>) -> u64 {
    let page = black_box([1_u8; 4096]);
    tokio::task::yield_now().await;
    u64::from(black_box(&page)[a.len() + b.map_or(0, str::len)])
}

struct Holder(String);

impl Holder {
    #[cached(ttl = 1, prefix = "sizes.method", key(name = self.0))]
    async fn method(&self, a: String, (b, c): (String, u64)) -> u64 {
        let page = black_box([1_u8; 4096]);
        tokio::task::yield_now().await;
        u64::from(black_box(&page)[a.len() + b.len()]) + c + u64::from(self.0.is_empty())
    }
}

#[tokio::test]
async fn the_body_is_boxed() {
    let future = large(String::new(), String::new(), [0; 32]);
    assert!(
        size_of_val(&future) <= 24 + 24 + 256 + 64,
        "{}",
        size_of_val(&future)
    );
    assert_eq!(future.await, 1);
    let future = borrowed("", None);
    assert!(size_of_val(&future) <= 32 + 64, "{}", size_of_val(&future));
    assert_eq!(future.await, 1);
    let holder = Holder("x".into());
    let future = holder.method(String::new(), (String::new(), 0));
    assert!(
        size_of_val(&future) <= 8 + 24 + 32 + 64,
        "{}",
        size_of_val(&future)
    );
    assert_eq!(future.await, 1);
}
