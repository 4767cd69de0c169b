//! What `tiered` needs, and what it says where that is missing.

use dexter_cache::{Cache, CacheBuilder, CacheMode, ErrorKind};

async fn refused(builder: CacheBuilder) -> String {
    let error = builder.build().await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn it_needs_a_backend_and_a_namespace_and_says_what_to_write() {
    let message = refused(Cache::builder().tiered().namespace("app")).await;
    assert!(message.contains(".redis("), "{message}");
    let message = refused(Cache::builder().tiered().redis("redis://127.0.0.1:1/0")).await;
    assert!(message.contains(".namespace("), "{message}");
}

#[tokio::test]
async fn an_address_that_says_memory_is_memory_alone() {
    for address in ["", "memory"] {
        let cache = Cache::builder().redis(address).tiered().build().await;
        let health = cache.unwrap().health();
        assert_eq!(health.mode, CacheMode::Memory);
        assert!(health.is_whole());
    }
}
