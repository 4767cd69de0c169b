//! The same work on several threads at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

/// Runs `work(thread)` on as many threads, each with a runtime of its own, all beginning at once. Returns how long the
/// slowest took; making threads and runtimes is not counted.
///
/// # Panics
///
/// If `work` does.
pub fn on_threads<F: Future<Output = ()>>(
    threads: usize,
    work: impl Fn(usize) -> F + Sync,
) -> Duration {
    let start = Barrier::new(threads);
    let timed = |thread: usize| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            start.wait();
            let begun = Instant::now();
            work(thread).await;
            begun.elapsed()
        })
    };
    if threads == 1 {
        return timed(0);
    }
    thread::scope(|scope| {
        let timed = &timed;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || timed(thread)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("the work does not panic"))
            .max()
            .unwrap_or_default()
    })
}
