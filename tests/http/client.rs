//! A client that speaks to a router without a network, under a cache of its own.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use dexter_cache::Cache;
use tower::ServiceExt;

pub(crate) struct Client {
    app: Router,
    cache: Cache,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn new(app: Router) -> Self {
        Self {
            app,
            cache: Cache::memory(),
        }
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.send(Method::GET, uri, &[]).await
    }

    pub(crate) async fn send(&self, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self
            .cache
            .scope(self.app.clone().oneshot(request))
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Answer {
    pub(crate) fn x_cache(&self) -> Option<&str> {
        self.only("x-cache")
    }

    pub(crate) fn cache_control(&self) -> Option<&str> {
        self.only("cache-control")
    }

    /// Seconds of `max-age`.
    pub(crate) fn max_age(&self) -> u64 {
        let value = self.cache_control().expect("no Cache-Control");
        let (_, seconds) = value.split_once("max-age=").expect("no max-age");
        seconds.parse().expect("max-age is no number")
    }

    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} twice: {:?}", self.headers);
        value
    }
}
