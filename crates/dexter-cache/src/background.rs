//! Tasks that outlive the call that started them, counted so that `close` can wait for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The detached tasks of one cache.
#[derive(Debug, Default)]
pub(crate) struct Background {
    running: AtomicUsize,
    idle: Notify,
}

impl Background {
    /// Runs `task` on the current runtime. Without a runtime the task is given back, to be run where the caller is.
    pub(crate) fn spawn<F>(self: &Arc<Self>, task: F) -> Result<JoinHandle<F::Output>, F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(task);
        };
        Ok(runtime.spawn(Counted {
            task,
            _running: Running::new(self),
        }))
    }

    /// Waits until no task runs any more; `false` if that takes longer than `patience`.
    pub(crate) async fn drain(&self, patience: Duration) -> bool {
        let idle = async {
            loop {
                let notified = self.idle.notified();
                if self.running.load(Ordering::SeqCst) == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(patience, idle).await.is_ok()
    }
}

pin_project! {
    /// A task that is counted as long as it is there. An `async` block would hold it twice.
    struct Counted<F> {
        #[pin]
        task: F,
        _running: Running,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().task.poll(context)
    }
}

struct Running(Arc<Background>);

impl Running {
    fn new(background: &Arc<Background>) -> Self {
        background.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(background))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
