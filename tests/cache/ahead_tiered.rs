//! Refreshing ahead where L1 answers: the backend tells of no changes here, so L1 holds what it has read for a short time.

use std::sync::Arc;

use dexter_cache::backend::MemoryBackend;
use dexter_cache::test_util::{RecordingBackend, TestClock};
use dexter_cache::{Cache, Policy, Ttl};

use crate::origin::{Down, MINUTE, Origin, SECOND, key, settle};

/// For longer than L1 holds what it has read.
const WHILE: std::time::Duration = std::time::Duration::from_secs(3);

struct World {
    cache: Cache,
    backend: RecordingBackend,
    clock: TestClock,
    origin: Arc<Origin>,
}

impl World {
    /// With a value that is due.
    async fn due() -> Self {
        let clock = TestClock::tokio();
        let backend = RecordingBackend::wrapping(MemoryBackend::with_clock(100, &clock));
        let builder = Cache::builder()
            .backend(backend.clone())
            .clock(&clock)
            .namespace("ahead")
            .tiered()
            .jitter(0.0);
        let world = Self {
            cache: builder.build().await.expect("the options are good"),
            backend,
            clock,
            origin: Origin::new(),
        };
        assert_eq!(world.call().await, Ok(1));
        settle().await;
        world.clock.advance(MINUTE - SECOND * 10);
        world
    }

    async fn call(&self) -> Result<u32, Down> {
        let policy = Policy::new(Ttl::from_duration(MINUTE)).refresh_ahead(0.8);
        let (key, load) = (key(), || Arc::clone(&self.origin).load());
        let loaded = self.cache.try_get_or_load_detached(&key, policy, load);
        tokio::time::timeout(SECOND, loaded)
            .await
            .expect("nobody waits")
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_refresh_when_l1_has_let_go_of_the_value() {
    let world = World::due().await;
    world.origin.hang();
    assert_eq!(world.call().await, Ok(1));
    settle().await;
    assert_eq!(world.origin.loads(), 2, "it has begun");
    world.clock.advance(WHILE);
    assert_eq!(world.call().await, Ok(1));
    settle().await;
    world.origin.go_on();
    settle().await;
    assert_eq!(world.origin.loads(), 2, "one load");
    assert_eq!(world.call().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn after_a_refresh_that_failed_l1_answers_without_asking() {
    let world = World::due().await;
    world.origin.break_down();
    for _ in 0..2 {
        assert_eq!(world.call().await, Ok(1));
        settle().await;
        assert_eq!(world.origin.loads(), 2);
        world.backend.take();
        for _ in 0..5 {
            assert_eq!(world.call().await, Ok(1));
            settle().await;
        }
        assert_eq!(world.backend.take().len(), 0, "nothing was asked");
        world.clock.advance(WHILE);
    }
    assert_eq!(world.origin.loads(), 2, "nor loaded");
}
