//! What the model has found, told as short stories: they hold however the mix of operations changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dexter_cache::backend::{CacheBackend, When};
use dexter_cache::{Cache, Key, KeyPattern, Reach, Serving, Ttl};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::sim::{Mood, SimBackend, SimServer};
use crate::world::World;

const LATENCY: Duration = Duration::from_millis(2);
const LONG: Ttl = Ttl::secs(600);
const SOON: Duration = Duration::from_millis(100);

struct Scene {
    server: SimServer,
    caches: Vec<Cache>,
}

impl Scene {
    async fn of(processes: usize) -> Self {
        Self::on(SimServer::new(1, 2, LATENCY), processes).await
    }

    async fn on(server: SimServer, processes: usize) -> Self {
        fastrand::seed(1);
        let world = World::new(1, processes, Duration::ZERO, false, false);
        let mut caches = Vec::new();
        for process in 0..processes {
            let backend = SimBackend::new(server.clone(), process, Arc::clone(&world));
            let builder = Cache::builder().backend(backend).namespace("scene");
            caches.push(builder.build().await.expect("good options"));
        }
        Self { server, caches }
    }

    async fn until_well(&self) {
        let serves = |cache: &Cache| cache.health().serving == Serving::Backend;
        while !self.caches.iter().all(serves) {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn key() -> Key {
    Key::new("row").part("id", &1)
}

async fn get(cache: &Cache) -> Option<u32> {
    cache.get(&key()).await.expect("a read never fails")
}

async fn set(cache: &Cache, value: u32) {
    cache.set(&key(), &value, LONG).await.expect("a set");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_removal_is_said_again_to_a_replica_that_lacks_it() {
    let scene = Scene::of(1).await;
    let cache = &scene.caches[0];
    set(cache, 1).await;
    scene.server.mood(Mood::ReadOnly);
    let removed = cache.remove(&key()).await.expect("a removal");
    assert_eq!(removed.reach, Reach::Journaled);
    scene.server.heal();
    scene.until_well().await;
    scene.server.promote(1);
    sleep(Duration::from_secs(4)).await;
    scene.until_well().await;
    assert_eq!(get(cache).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_connects_anew_does_not_trust_another_server() {
    let server = SimServer::new(1, 2, LATENCY);
    // Else the end of the connection is told, and the server is not trusted any more by then.
    server.keep_silent();
    let scene = Scene::on(server, 1).await;
    let cache = &scene.caches[0];
    set(cache, 1).await;
    cache.remove(&key()).await.expect("a removal");
    scene.server.promote(1);
    // The first to notice that the connection is gone.
    let other = KeyPattern::new("list:*");
    cache.invalidate(&other).await.expect("a sweep");
    assert_eq!(get(cache).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_process_elected_to_clear_goes_on_after_it_was_cut_off() {
    let scene = Scene::of(2).await;
    set(&scene.caches[0], 1).await;
    scene.server.restart_whole();
    // Both notice; one is elected, and cut off in its sweep.
    while !scene
        .caches
        .iter()
        .any(|cache| cache.health().serving == Serving::Memory)
    {
        sleep(Duration::from_millis(1)).await;
    }
    scene.server.mood_after_sets(1, Mood::Loading);
    sleep(Duration::from_secs(3)).await;
    assert!(!scene.server.awaits_sets(), "somebody was elected");
    scene.server.heal();
    // Well before an elected process that never comes back would be given up.
    sleep(Duration::from_secs(12)).await;
    for cache in &scene.caches {
        assert_eq!(cache.health().serving, Serving::Backend);
        assert_eq!(get(cache).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_trusts_a_restarted_server_while_another_process_is_to_clear_it() {
    const MINUTE: Duration = Duration::from_secs(60);
    let scene = Scene::of(1).await;
    let cache = &scene.caches[0];
    set(cache, 1).await;
    let world = World::new(1, 1, Duration::ZERO, false, false);
    let other = SimBackend::new(scene.server.clone(), 0, world);
    scene.server.restart_whole();
    // Before the cache tries for the first time, somebody else is elected.
    other.ping().await.expect("it is back");
    let elected = format!("scene:dexter-cache:run:run{}", scene.server.run());
    let says = |text: &'static str| {
        let text = Bytes::from_static(text.as_bytes());
        other.set(&elected, text, MINUTE, When::Always)
    };
    says("clearing 0").await.expect("a set");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(cache.health().serving, Serving::Memory);
    assert_eq!(get(cache).await, None);
    let epoch = other.remove(&["scene:dexter-cache:epoch"]).await;
    assert_eq!(epoch.expect("a removal"), 1);
    says("cleared").await.expect("a set");
    scene.until_well().await;
    assert_eq!(get(cache).await, None);
}

/// A load that waits to be let go on.
struct Gate {
    begun: Notify,
    go_on: Notify,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Notify::new(),
            go_on: Notify::new(),
        })
    }

    async fn pass(&self) {
        self.begun.notify_one();
        self.go_on.notified().await;
    }
}

fn call(
    cache: &Cache,
    gate: &Arc<Gate>,
    result: Result<u32, ()>,
) -> tokio::task::JoinHandle<Result<u32, ()>> {
    let (cache, gate) = (cache.clone(), Arc::clone(gate));
    tokio::spawn(async move {
        let load = || async {
            gate.pass().await;
            result
        };
        cache.try_get_or_load(&key(), LONG, load).await
    })
}

/// Three callers; the first one's load fails, so the two others load at once, in the same flight. Gives their gates.
async fn two_turns(cache: &Cache) -> [Arc<Gate>; 2] {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    drop(call(cache, &gates[0], Err(())));
    gates[0].begun.notified().await;
    drop(call(cache, &gates[1], Ok(1)));
    drop(call(cache, &gates[2], Ok(2)));
    sleep(SOON).await;
    gates[0].go_on.notify_one();
    let [_, one, two] = gates;
    one.begun.notified().await;
    [one, two]
}

#[tokio::test(start_paused = true)]
async fn of_two_loads_at_once_the_second_one_is_stopped_by_a_fence_after_the_first_has_landed() {
    for (down, scene) in [(false, Scene::of(0).await), (true, Scene::of(1).await)] {
        let cache = scene.caches.first().cloned().unwrap_or_else(Cache::memory);
        if down {
            scene.server.kill();
            get(&cache).await;
        }
        let [one, two] = two_turns(&cache).await;
        two.begun.notified().await;
        one.go_on.notify_one();
        sleep(SOON).await;
        cache.remove(&key()).await.expect("a removal");
        two.go_on.notify_one();
        sleep(SOON).await;
        assert_eq!(get(&cache).await, None, "down: {down}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_loads_at_once_neither_stores_under_the_lease_of_the_other() {
    let scene = Scene::of(2).await;
    let [here, elsewhere] = [&scene.caches[0], &scene.caches[1]];
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    drop(call(here, &gates[0], Err(())));
    gates[0].begun.notified().await;
    drop(call(here, &gates[1], Ok(1)));
    sleep(SOON).await;
    gates[0].go_on.notify_one();
    // The old load holds the lease of the flight; the key is removed elsewhere, and the lease with it.
    gates[1].begun.notified().await;
    elsewhere.remove(&key()).await.expect("a removal");
    // The turn that the failed load left over goes to one who joins now.
    drop(call(here, &gates[2], Ok(2)));
    gates[2].begun.notified().await;
    gates[1].go_on.notify_one();
    sleep(SOON).await;
    assert_ne!(get(elsewhere).await, Some(1), "loaded before the removal");
    gates[2].go_on.notify_one();
}
