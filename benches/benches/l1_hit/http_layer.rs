//! The calls of one request under `CacheContextLayer`, which notes for each of them whether it was a hit.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;

use benches::{Turns, fence, on_threads};
use dexter_cache::http::CacheContextLayer;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};

use crate::{CACHE, KEYS};

pub(crate) fn row<'a, F: Future>(
    turns: &mut Turns<'a>,
    name: &'a str,
    threads: usize,
    call: impl Fn(usize) -> F + Sync + 'a,
) {
    crate::hits(turns, name, threads, move |count| {
        let call = &call;
        on_threads(threads, |_| {
            CACHE.scope(async move {
                let handler = service_fn(|_: Request<()>| async move {
                    for key in 0..count {
                        fence();
                        black_box(call(black_box(key % KEYS)).await);
                    }
                    Ok::<_, Infallible>(Response::new(()))
                });
                let request = Request::new(());
                let answer = CacheContextLayer::new()
                    .layer(handler)
                    .oneshot(request)
                    .await;
                black_box(answer.is_ok());
            })
        })
    });
}
