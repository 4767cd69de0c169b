//! [`CacheContextService`]: opens the scope and hands the request on.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::bypass::BypassPolicy;
use super::future::CacheContextFuture;
use super::layer::Options;
use super::stamp::Stamp;
use crate::global;
use crate::record::CallRecord;

/// What [`CacheContextLayer`](super::CacheContextLayer) wraps a service in.
///
/// Errors of the inner service pass through unchanged, and so does its readiness.
#[derive(Debug, Clone)]
pub struct CacheContextService<S> {
    inner: S,
    options: Options,
}

/// Left in the extensions of a request by each layer, so that those further in join its record and keep to what it
/// granted. An extension and not the task-local, since a buffer between the two may carry the request to another task.
#[derive(Clone)]
struct Outer {
    record: Arc<CallRecord>,
    bypass: bool,
}

impl<S> CacheContextService<S> {
    pub(super) fn new(inner: S, options: Options) -> Self {
        Self { inner, options }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CacheContextService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = CacheContextFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let outer = request.extensions().get::<Outer>().cloned();
        let (bypass, mut request) = match (&self.options.bypass, &outer) {
            (_, Some(Outer { bypass: true, .. })) => (true, request),
            (Some(policy), _) => policy.permits(request),
            (None, Some(_)) => (false, request),
            (None, None) => BypassPolicy::anyone().permits(request),
        };
        let (record, stamp) = if let Some(outer) = outer {
            (outer.record, None)
        } else {
            let record = Arc::new(CallRecord::new());
            let stamp = Stamp::new(Arc::clone(&record), request.method(), request.headers());
            (record, Some(stamp))
        };
        if self.options.cache_control {
            record.ask_cache_control();
        }
        request.extensions_mut().insert(Outer {
            record: Arc::clone(&record),
            bypass,
        });
        CacheContextFuture::new(
            global::with_record(record, bypass, self.inner.call(request)),
            stamp,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::time::Duration;

    use tower_layer::Layer;

    use super::*;
    use crate::global::{Mode, Scope};
    use crate::http::CacheContextLayer;

    /// A service of which each call is one hit with a minute to go, made when its future is polled.
    #[derive(Clone)]
    struct OneHit;

    impl Service<Request<()>> for OneHit {
        type Response = Response<&'static str>;
        type Error = Infallible;
        type Future =
            std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            Box::pin(async {
                let scope = Scope::current();
                let record = scope
                    .record
                    .expect("the layer gives every request a record");
                if scope.mode == Mode::Bypass {
                    record.bypass();
                } else {
                    record.hit(Duration::from_secs(60), false);
                }
                Ok(Response::new("body"))
            })
        }
    }

    #[derive(Debug, PartialEq)]
    struct Broken;

    /// Neither ready nor able to answer.
    struct Failing;

    impl Service<Request<()>> for Failing {
        type Response = Response<()>;
        type Error = Broken;
        type Future = Ready<Result<Response<()>, Broken>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Err(Broken))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Err(Broken))
        }
    }

    fn request(uri: &str) -> Request<()> {
        Request::builder().uri(uri).body(()).unwrap()
    }

    async fn headers<S>(mut service: S, uri: &str) -> (Option<String>, Option<String>)
    where
        S: Service<Request<()>, Response = Response<&'static str>, Error = Infallible>,
    {
        let response = service.call(request(uri)).await.unwrap();
        let read = |name| {
            let mut values = response.headers().get_all(name).iter();
            let value = values
                .next()
                .map(|value| value.to_str().unwrap().to_owned());
            assert!(values.next().is_none(), "{name} twice");
            value
        };
        (read("x-cache"), read("cache-control"))
    }

    fn expected(x_cache: &str, control: Option<&str>) -> (Option<String>, Option<String>) {
        (Some(x_cache.to_owned()), control.map(str::to_owned))
    }

    #[tokio::test]
    async fn one_layer() {
        let plain = CacheContextLayer::new();
        let asking = plain.clone().cache_control(true);
        let closed = plain.clone().bypass(BypassPolicy::never());
        assert_eq!(
            headers(plain.layer(OneHit), "/").await,
            expected("HIT", None)
        );
        assert_eq!(
            headers(asking.layer(OneHit), "/").await,
            expected("HIT", Some("max-age=60"))
        );
        assert_eq!(
            headers(plain.layer(OneHit), "/?no_cache=true").await,
            expected("BYPASS", Some("no-store"))
        );
        assert_eq!(
            headers(closed.layer(OneHit), "/?no_cache=true").await,
            expected("HIT", None)
        );
    }

    #[tokio::test]
    async fn a_layer_within_a_layer() {
        let outer = CacheContextLayer::new().bypass(BypassPolicy::never());
        let asking = CacheContextLayer::new().cache_control(true);
        let open = CacheContextLayer::new().bypass(BypassPolicy::anyone());

        let route = outer.layer(asking.layer(OneHit));
        assert_eq!(
            headers(route, "/?no_cache=true").await,
            expected("HIT", Some("max-age=60")),
            "a layer without a policy does not undo that of the outer one"
        );
        let route = outer.layer(open.layer(OneHit));
        assert_eq!(
            headers(route, "/?no_cache=true").await,
            expected("BYPASS", Some("no-store")),
            "a layer with a policy speaks for its route"
        );
        let route = CacheContextLayer::new().layer(asking.layer(OneHit));
        assert_eq!(
            headers(route, "/?no_cache=true").await,
            expected("BYPASS", Some("no-store")),
            "what the outer layer granted holds further in"
        );
    }

    #[tokio::test]
    async fn errors_and_readiness_pass_through() {
        let mut service = CacheContextLayer::new().layer(Failing);
        let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
        assert_eq!(ready.unwrap_err(), Broken);
        assert_eq!(service.call(request("/")).await.unwrap_err(), Broken);
    }
}
