use std::sync::Arc;

use dexter_cache::backend::{CacheBackend, RedisBackend, RedisConfig};
use support::{PATIENCE, RedisServer};

use crate::fixture::Backend;

/// A server of its own for each behaviour, and the deadlines of a busy machine.
async fn fresh_on(server: RedisServer, query: &str) -> (Backend, RedisServer) {
    let config = RedisConfig::parse(&format!("{}{query}", server.url())).expect("a good address");
    let config = config.connect_timeout(PATIENCE);
    let backend = RedisBackend::new(config.sweep_timeout(PATIENCE));
    backend.ping().await.expect("the server answers");
    (Arc::new(backend), server)
}

async fn fresh() -> (Backend, RedisServer) {
    fresh_on(RedisServer::start(), "").await
}

mount!(fresh);

mod in_resp2 {
    use super::{Backend, RedisServer, fresh_on};

    async fn fresh() -> (Backend, RedisServer) {
        fresh_on(RedisServer::start(), "?protocol=2").await
    }

    mount!(fresh);
}
