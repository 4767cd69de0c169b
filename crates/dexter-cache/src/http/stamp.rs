//! The headers of a response: which, and when.

use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    SET_COOKIE,
};
use http::{Method, StatusCode};

use crate::record::{CallRecord, Verdict};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The largest age that RFC 9111 asks every recipient to understand.
const MAX_AGE: u64 = 1 << 31;

/// What has to be known of a request to write the headers of its response.
pub(super) struct Stamp {
    record: Arc<CallRecord>,
    /// GET or HEAD.
    readable: bool,
    /// The request named its sender, so the answer may be meant for that one alone.
    private: bool,
}

impl Stamp {
    pub(super) fn new(record: Arc<CallRecord>, method: &Method, request: &HeaderMap) -> Self {
        Self {
            record,
            readable: matches!(*method, Method::GET | Method::HEAD),
            private: request.contains_key(AUTHORIZATION) || request.contains_key(COOKIE),
        }
    }

    pub(super) fn write(&self, status: StatusCode, headers: &mut HeaderMap) {
        let Some(verdict) = self.record.verdict() else {
            return;
        };
        let x_cache = match verdict {
            Verdict::Hit => "HIT",
            Verdict::Miss => "MISS",
            Verdict::Bypass => "BYPASS",
        };
        // Inserted and not appended: one response carries one verdict, also where the handler copied the headers of
        // another server's answer.
        headers.insert(X_CACHE, HeaderValue::from_static(x_cache));

        if headers.contains_key(CACHE_CONTROL) {
            return;
        }
        if let Some(value) = self.cache_control(status, headers) {
            headers.insert(CACHE_CONTROL, value);
        }
    }

    fn cache_control(&self, status: StatusCode, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.readable {
            return None;
        }
        if self.record.bypassed() {
            // Whatever the status: a proxy may keep a 404 by its own rules, and this one was asked for past all caches.
            return Some(HeaderValue::from_static("no-store"));
        }
        if status != StatusCode::OK || headers.contains_key(SET_COOKIE) {
            return None;
        }
        // `as_secs` rounds down: a client's copy is never older than the entry would have become.
        let seconds = self
            .record
            .max_age(is_json(headers))?
            .as_secs()
            .min(MAX_AGE);
        let private = if self.private { "private, " } else { "" };
        HeaderValue::try_from(format!("{private}max-age={seconds}")).ok()
    }
}

/// Whether this is what `axum::Json` answers with. A page that was made of it is not.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Case {
        name: &'static str,
        calls: fn(&CallRecord),
        readable: bool,
        private: bool,
        status: u16,
        response: &'static [(&'static str, &'static str)],
        x_cache: Option<&'static str>,
        cache_control: Option<&'static str>,
    }

    /// A plain GET answered by an annotated handler from the cache.
    const PLAIN: Case = Case {
        name: "hit",
        calls: |record| record.hit(Duration::from_millis(59_999), true),
        readable: true,
        private: false,
        status: 200,
        response: &[],
        x_cache: Some("HIT"),
        cache_control: Some("max-age=59"),
    };

    #[expect(clippy::too_many_lines, reason = "a table, one row a rule")]
    fn cases() -> Vec<Case> {
        vec![
            PLAIN,
            Case {
                name: "no annotated call",
                calls: |_| (),
                x_cache: None,
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "no annotated call, the handler's own X-Cache stays",
                calls: |_| (),
                response: &[("x-cache", "upstream")],
                x_cache: Some("upstream"),
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "our X-Cache replaces another",
                response: &[("x-cache", "upstream"), ("x-cache", "edge")],
                ..PLAIN
            },
            Case {
                name: "miss",
                calls: |record| record.miss(Duration::from_secs(60), true),
                x_cache: Some("MISS"),
                cache_control: Some("max-age=60"),
                ..PLAIN
            },
            Case {
                name: "miss that was not stored",
                calls: |record| record.miss(Duration::ZERO, true),
                x_cache: Some("MISS"),
                cache_control: Some("max-age=0"),
                ..PLAIN
            },
            Case {
                name: "less than a second left",
                calls: |record| record.hit(Duration::from_millis(999), true),
                cache_control: Some("max-age=0"),
                ..PLAIN
            },
            Case {
                name: "a stale answer",
                calls: |record| record.hit(Duration::ZERO, true),
                cache_control: Some("max-age=0"),
                ..PLAIN
            },
            Case {
                name: "a life of centuries",
                calls: |record| record.hit(Duration::MAX, true),
                cache_control: Some("max-age=2147483648"),
                ..PLAIN
            },
            Case {
                name: "only functions annotated",
                calls: |record| record.hit(Duration::from_secs(60), false),
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "only functions annotated, the route asks: the shortest life",
                calls: |record| {
                    record.ask_cache_control();
                    record.hit(Duration::from_secs(60), false);
                    record.miss(Duration::from_secs(30), false);
                },
                x_cache: Some("MISS"),
                cache_control: Some("max-age=30"),
                ..PLAIN
            },
            Case {
                name: "the route asks, but nothing annotated was called",
                calls: CallRecord::ask_cache_control,
                x_cache: None,
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "the handler's entry decides, not what it was made of",
                calls: |record| {
                    record.hit(Duration::from_secs(5), false);
                    record.miss(Duration::from_secs(60), true);
                },
                x_cache: Some("MISS"),
                cache_control: Some("max-age=60"),
                ..PLAIN
            },
            Case {
                name: "a page that was made of a handler's answer",
                response: &[("content-type", "text/html; charset=utf-8")],
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "an answer that was made of a handler's and another",
                calls: |record| {
                    record.hit(Duration::from_secs(60), true);
                    record.hit(Duration::from_secs(60), false);
                },
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "bypass",
                calls: CallRecord::bypass,
                x_cache: Some("BYPASS"),
                cache_control: Some("no-store"),
                ..PLAIN
            },
            Case {
                name: "bypass answered by an error",
                calls: CallRecord::bypass,
                status: 404,
                x_cache: Some("BYPASS"),
                cache_control: Some("no-store"),
                ..PLAIN
            },
            Case {
                name: "bypass under the handler's own header",
                calls: CallRecord::bypass,
                response: &[("cache-control", "max-age=5")],
                x_cache: Some("BYPASS"),
                cache_control: Some("max-age=5"),
                ..PLAIN
            },
            Case {
                name: "bypass with a cookie set",
                calls: CallRecord::bypass,
                response: &[("set-cookie", "a=b")],
                x_cache: Some("BYPASS"),
                cache_control: Some("no-store"),
                ..PLAIN
            },
            Case {
                name: "a miss beside a bypass",
                calls: |record| {
                    record.bypass();
                    record.miss(Duration::from_secs(60), true);
                },
                x_cache: Some("MISS"),
                cache_control: Some("no-store"),
                ..PLAIN
            },
            Case {
                name: "a request that names its sender",
                private: true,
                cache_control: Some("private, max-age=59"),
                ..PLAIN
            },
            Case {
                name: "bypass by one who is named",
                calls: CallRecord::bypass,
                private: true,
                x_cache: Some("BYPASS"),
                cache_control: Some("no-store"),
                ..PLAIN
            },
            Case {
                name: "set-cookie",
                response: &[("set-cookie", "a=b")],
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "the handler's own header",
                response: &[("cache-control", "public, max-age=1")],
                cache_control: Some("public, max-age=1"),
                ..PLAIN
            },
            Case {
                name: "another method",
                readable: false,
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "bypass by another method",
                calls: CallRecord::bypass,
                readable: false,
                x_cache: Some("BYPASS"),
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "created",
                status: 201,
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "not modified",
                status: 304,
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "not found",
                status: 404,
                cache_control: None,
                ..PLAIN
            },
            Case {
                name: "broken",
                status: 500,
                cache_control: None,
                ..PLAIN
            },
        ]
    }

    #[test]
    fn headers() {
        for case in cases() {
            let record = Arc::new(CallRecord::new());
            (case.calls)(&record);
            let stamp = Stamp {
                record,
                readable: case.readable,
                private: case.private,
            };
            let mut headers = HeaderMap::new();
            if !case
                .response
                .iter()
                .any(|(name, _)| *name == "content-type")
            {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            for (name, value) in case.response {
                headers.append(*name, HeaderValue::from_static(value));
            }
            stamp.write(StatusCode::from_u16(case.status).unwrap(), &mut headers);
            assert_eq!(
                only(&headers, "x-cache"),
                case.x_cache,
                "{}: X-Cache",
                case.name
            );
            assert_eq!(
                only(&headers, "cache-control"),
                case.cache_control,
                "{}",
                case.name
            );
        }
    }

    fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name} twice: {values:?}");
        values.first().map(|value| value.to_str().unwrap())
    }
}
