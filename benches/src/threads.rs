//! The same work on several threads at once.

use std::pin::Pin;
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
pub fn on_threads<'f, F: Future<Output = ()> + 'f>(
    threads: usize,
    work: impl Fn(usize) -> F + Sync,
) -> Duration {
    boxed(threads, &|thread| Box::pin(work(thread)))
}

type Boxed<'f> = Pin<Box<dyn Future<Output = ()> + 'f>>;

/// Runtimes and threads are compiled once, not for each of some hundred rows. The box is polled once for all calls in it.
fn boxed<'f>(threads: usize, work: &(dyn Fn(usize) -> Boxed<'f> + Sync)) -> Duration {
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
