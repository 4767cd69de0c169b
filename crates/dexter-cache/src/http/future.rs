//! [`CacheContextFuture`]: runs the inner future in the scope, then writes the headers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::stamp::Stamp;
use crate::global::Scoped;

pin_project! {
    /// The response of [`CacheContextService`](super::CacheContextService): the inner service's, with the headers of
    /// this library.
    pub struct CacheContextFuture<F> {
        #[pin]
        inner: Scoped<F>,
        // None in a nested layer, and once the response has been given out.
        stamp: Option<Stamp>,
    }
}

impl<F> CacheContextFuture<F> {
    pub(super) fn new(inner: Scoped<F>, stamp: Option<Stamp>) -> Self {
        Self { inner, stamp }
    }
}

impl<F, B, E> Future for CacheContextFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(stamp) = this.stamp.take() {
            let status = response.status();
            stamp.write(status, response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for CacheContextFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheContextFuture").finish_non_exhaustive()
    }
}
