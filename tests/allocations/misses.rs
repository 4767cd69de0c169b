//! A miss in memory: its futures are boxed and moved, so they are not to hold what only a backend needs.

use std::sync::Arc;

use dexter_cache::{Cache, cached};

use crate::largest;

#[cached(ttl = 300, prefix = "alloc_miss")]
async fn detached(id: u64) -> Result<Arc<u64>, String> {
    Ok(Arc::new(id))
}

#[cached(ttl = 300, prefix = "alloc_miss_inline", detach = false)]
async fn inline(id: u64) -> Result<Arc<u64>, String> {
    Ok(Arc::new(id))
}

#[tokio::test]
async fn a_miss_carries_no_large_future_about() {
    let cache = Cache::memory();
    cache
        .scope(async {
            // Tables that are made once.
            detached(1).await.unwrap();
            inline(1).await.unwrap();
            largest();
            detached(2).await.unwrap();
            let of_detached = largest();
            inline(2).await.unwrap();
            let of_inline = largest();
            assert!(of_detached <= 8 << 10, "{of_detached} bytes");
            assert!(of_inline <= 8 << 10, "{of_inline} bytes");
        })
        .await;
}
