use std::sync::Arc;
use std::time::Duration;

use dexter_cache::backend::{CacheBackend, RedisBackend, RedisConfig};
use dexter_cache::test_util::backend_behavior;
use support::RedisServer;

type Backend = Arc<dyn CacheBackend>;

/// A server of its own for each behaviour, and the deadlines of a busy machine.
async fn fresh_on(server: RedisServer, query: &str) -> (Backend, RedisServer) {
    let config = RedisConfig::parse(&format!("{}{query}", server.url())).expect("a good address");
    let patient = Duration::from_secs(20);
    let backend = RedisBackend::new(config.connect_timeout(patient).sweep_timeout(patient));
    backend.ping().await.expect("the server answers");
    (Arc::new(backend), server)
}

async fn fresh() -> (Backend, RedisServer) {
    fresh_on(RedisServer::start(), "").await
}

backend_behavior!(fresh);

mod in_resp2 {
    use super::{Backend, RedisServer, backend_behavior, fresh_on};

    async fn fresh() -> (Backend, RedisServer) {
        fresh_on(RedisServer::start(), "?protocol=2").await
    }

    backend_behavior!(fresh);
}
