//! Feature `metrics`: what the facade is told.

use std::collections::HashMap;

use dexter_cache::test_util::{Fault, FaultyBackend};
use dexter_cache::{Cache, ErrorKind, Key, Ttl, bypass};
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
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
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
