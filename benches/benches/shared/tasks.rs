//! Calls of many tasks at once.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::time::{Duration, Instant};

use benches::{Latencies, loads};
use dexter_cache::{Cache, InCacheScope};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What one task asks for: its own keys, round and round, so that no two tasks ever share a read.
pub(crate) struct Ids {
    first: usize,
    own: usize,
    at: usize,
    calls: usize,
}

impl Ids {
    fn new(first: usize, own: usize, calls: usize) -> Self {
        Self {
            first,
            own,
            at: 0,
            calls,
        }
    }
}

impl Iterator for Ids {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.at == self.calls {
            return None;
        }
        let id = self.first + self.at % self.own;
        self.at += 1;
        Some(id as u64)
    }
}

/// Who calls, and on what.
#[derive(Clone, Copy)]
pub(crate) struct Callers<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) cache: &'a Cache,
    pub(crate) tasks: usize,
    pub(crate) keys: usize,
}

#[allow(dead_code, reason = "not every benchmark asks all of it")]
impl Callers<'_> {
    /// How long `calls` calls take, spread over the tasks.
    pub(crate) fn run<F>(
        self,
        calls: usize,
        call: impl Fn(u64) -> F + Clone + Send + 'static,
    ) -> Duration
    where
        F: Future<Output = u64> + Send + 'static,
    {
        self.spread(calls, &move |ids| {
            let call = call.clone();
            Box::pin(async move {
                for id in ids {
                    black_box(call(id).await);
                }
            })
        })
        .0
    }

    /// How long each of `calls` calls takes, which costs the time of two looks at a clock.
    pub(crate) fn latencies<F>(
        self,
        calls: usize,
        call: impl Fn(u64) -> F + Clone + Send + 'static,
    ) -> Latencies
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let each = self.spread(calls, &move |ids| {
            let call = call.clone();
            Box::pin(async move {
                let mut latencies = Latencies::default();
                for id in ids {
                    let asked = Instant::now();
                    black_box(call(id).await);
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        });
        let mut latencies = Latencies::default();
        each.1
            .into_iter()
            .for_each(|of_task| latencies.append(of_task));
        latencies
    }

    /// As [`run`](Self::run), and nothing was loaded, and the backend was there all the time: on a starved machine its time
    /// budget runs out, and what is timed then is memory in its place. Such a turn is done again.
    pub(crate) fn hits<F>(
        self,
        calls: usize,
        call: impl Fn(u64) -> F + Clone + Send + 'static,
    ) -> Duration
    where
        F: Future<Output = u64> + Send + 'static,
    {
        for _ in 0..10 {
            self.wait_for_the_backend();
            let before = loads();
            let took = self.run(calls, call.clone());
            if loads() == before && self.cache.health().is_whole() {
                return took;
            }
            self.fill(call.clone());
        }
        panic!("what is measured are no hits, ten times in a row");
    }

    /// Calls for each key until nothing is loaded: fills may come behind the answer.
    pub(crate) fn fill<F>(self, call: impl Fn(u64) -> F + Clone + Send + 'static)
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let many = Callers { tasks: 16, ..self };
        for _ in 0..100 {
            self.wait_for_the_backend();
            let before = loads();
            many.run(self.keys, call.clone());
            if loads() == before && self.cache.health().is_whole() {
                return;
            }
        }
        panic!("it loads for ever");
    }

    pub(crate) fn wait_for_the_backend(self) {
        support::wait_until("the backend is there", support::PATIENCE, || {
            self.cache.health().is_whole()
        });
    }

    /// Boxes, which are polled a few times, so that runtimes and tasks are not compiled for each row.
    fn spread<T: Send + 'static>(
        self,
        calls: usize,
        work: &dyn Fn(Ids) -> Work<T>,
    ) -> (Duration, Vec<T>) {
        self.runtime.block_on(self.cache.scope(async {
            let begun = Instant::now();
            let mut running = JoinSet::new();
            for task in 0..self.tasks {
                let (from, to) = (calls * task / self.tasks, calls * (task + 1) / self.tasks);
                let own = self.keys / self.tasks;
                running.spawn(work(Ids::new(task * own, own, to - from)).in_cache_scope());
            }
            let mut done = Vec::with_capacity(self.tasks);
            while let Some(of_task) = running.join_next().await {
                done.push(of_task.expect("no task panics"));
            }
            (begun.elapsed(), done)
        }))
    }
}
