//! Feature `metrics`: what the facade is told.

use std::collections::HashMap;

use std::time::Duration;

use dexter_cache::test_util::{Fault, FaultyBackend, TestClock};
use dexter_cache::{Cache, ErrorKind, Key, Policy, Ttl, bypass};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

type Told = HashMap<String, f64>;

/// All that was told, as `name{label=value,..}`; of a histogram the number of its values.
fn told(snapshotter: &Snapshotter) -> Told {
    let all = snapshotter.snapshot().into_vec();
    all.into_iter()
        .map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<String> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (format!("{}{{{}}}", key.name(), labels.join(",")), value)
        })
        .collect()
}

/// Runs `test` in a paused runtime whose thread tells a recorder.
fn recorded(test: impl AsyncFnOnce(&Snapshotter)) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(test(&snapshotter));
    });
}

async fn ask(cache: &Cache, key: &str) {
    let key = Key::new("issue").part("id", key);
    cache.get_or_load(&key, Ttl::secs(60), || async { 7 }).await;
}

#[test]
fn calls_are_counted_by_prefix_and_loads_timed() {
    recorded(async |snapshotter| {
        let cache = Cache::builder()
            .metrics_name("issues")
            .build()
            .await
            .expect("a cache");
        ask(&cache, "1").await;
        ask(&cache, "1").await;
        ask(&cache, "1").await;
        bypass(ask(&cache, "1")).await;
        cache.publish_metrics();
        let told = told(snapshotter);
        let of = |name: &str| told.get(&format!("{name}{{cache=issues,prefix=issue}}"));
        assert_eq!(of("dexter_cache_hits_total"), Some(&2.0));
        assert_eq!(of("dexter_cache_misses_total"), Some(&1.0));
        assert_eq!(of("dexter_cache_loads_total"), Some(&1.0));
        assert_eq!(of("dexter_cache_bypasses_total"), Some(&1.0));
        assert_eq!(of("dexter_cache_load_duration_seconds"), Some(&1.0));
        assert_eq!(of("dexter_cache_load_failures_total"), None);
        assert_eq!(told["dexter_cache_entries{cache=issues}"], 1.0);
    });
}

#[test]
fn what_was_told_is_not_told_again() {
    recorded(async |snapshotter| {
        let cache = Cache::memory();
        let hits = || {
            let told = told(snapshotter);
            told.get("dexter_cache_hits_total{cache=cache,prefix=issue}")
                .copied()
        };
        ask(&cache, "1").await;
        ask(&cache, "1").await;
        cache.publish_metrics();
        assert_eq!(hits(), Some(1.0));
        cache.publish_metrics();
        ask(&cache, "1").await;
        cache.publish_metrics();
        // Taking a snapshot takes the counts along.
        assert_eq!(hits(), Some(1.0));
    });
}

#[test]
fn a_task_tells_every_second() {
    recorded(async |snapshotter| {
        let cache = Cache::memory();
        ask(&cache, "1").await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let told = told(snapshotter);
        assert_eq!(
            told["dexter_cache_loads_total{cache=cache,prefix=issue}"],
            1.0
        );
    });
}

#[test]
fn an_outage_shows_in_gauges() {
    recorded(async |snapshotter| {
        let backend = FaultyBackend::new();
        let cache = Cache::builder()
            .backend(backend.clone())
            .build()
            .await
            .expect("a cache");
        cache.publish_metrics();
        assert_eq!(
            told(snapshotter)["dexter_cache_breaker_open{cache=cache}"],
            0.0
        );
        backend.inject(Fault::Fail(ErrorKind::Unavailable));
        cache.remove(&Key::new("issue")).await.expect("journaled");
        cache.publish_metrics();
        let told = told(snapshotter);
        assert_eq!(told["dexter_cache_breaker_open{cache=cache}"], 1.0);
        assert_eq!(told["dexter_cache_journal_length{cache=cache}"], 1.0);
        let failed = "dexter_cache_backend_operations_total{cache=cache,outcome=failed}";
        assert_eq!(told[failed], 1.0);
    });
}

#[test]
fn what_is_counted_once_is_told_once() {
    recorded(async |snapshotter| {
        let clock = TestClock::new();
        let cache = Cache::builder().clock(&clock).jitter(0.0).build().await;
        let cache = cache.expect("a cache");
        let key = Key::new("issue").part("id", &1);
        let policy = Policy::new(Ttl::secs(60)).stale(Duration::from_secs(60));
        let ask = |answer: Result<u32, ()>| {
            let policy = policy.clone();
            cache.try_get_or_load(&key, policy, async move || answer)
        };
        assert_eq!(ask(Ok(7)).await, Ok(7));
        clock.advance(Duration::from_secs(60));
        assert_eq!(ask(Err(())).await, Ok(7));
        cache.publish_metrics();
        let told = told(snapshotter);
        let counts = cache.stats().prefix("issue");
        for (name, count) in [
            ("hits", counts.hits),
            ("stale", counts.stale),
            ("misses", counts.misses),
            ("bypasses", counts.bypasses),
            ("coalesced", counts.coalesced),
            ("loads", counts.loads),
            ("load_failures", counts.failed_loads),
            ("stored", counts.stored),
            ("fenced", counts.fenced),
            ("unusable", counts.unusable),
            ("too_large", counts.too_large),
            ("not_encoded", counts.not_encoded),
            ("follow_timeouts", counts.follow_timeouts),
        ] {
            let name = format!("dexter_cache_{name}_total{{cache=cache,prefix=issue}}");
            let of = told.get(&name).copied().unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
            let count = count as f64;
            assert_eq!(of, count, "{name}");
        }
        assert_eq!((counts.stale, counts.failed_loads), (1, 1));
    });
}

/// The task that tells, and a service that tells before it ends.
#[test]
fn two_may_tell_at_once() {
    let cache = Cache::memory();
    let tell = || (0..20_000).for_each(|_| cache.publish_metrics());
    std::thread::scope(|scope| {
        let telling = [scope.spawn(tell), scope.spawn(tell)];
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let asking = async {
            while telling.iter().any(|thread| !thread.is_finished()) {
                ask(&cache, "1").await
            }
        };
        runtime.expect("a runtime").block_on(asking);
        for thread in telling {
            thread.join().expect("nobody takes more than there is");
        }
    });
}

#[test]
fn the_wait_for_a_turn_to_load_is_no_part_of_the_load() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let backend = FaultyBackend::new();
            let builder = Cache::builder()
                .backend(backend.clone())
                .loads_while_away(1);
            let cache = builder.build().await.expect("a cache");
            backend.inject(Fault::Fail(ErrorKind::Unavailable));
            cache.remove(&Key::new("issue")).await.expect("journaled");
            let load = |id: u32| {
                let key = Key::new("issue").part("id", &id);
                let cache = &cache;
                async move {
                    let second = async || tokio::time::sleep(Duration::from_secs(1)).await;
                    cache.get_or_load(&key, Ttl::secs(60), second).await;
                }
            };
            tokio::join!(load(1), load(2));
        });
    });
    let all = snapshotter.snapshot().into_vec();
    let took: Vec<f64> = all
        .into_iter()
        .filter_map(|(_, _, _, value)| match value {
            DebugValue::Histogram(values) => Some(values),
            _ => None,
        })
        .flatten()
        .map(|value| value.into_inner().round())
        .collect();
    assert_eq!(took, [1.0, 1.0]);
}
