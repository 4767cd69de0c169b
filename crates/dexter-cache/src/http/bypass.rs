//! Who may go past the cache, and how a request asks for it.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;

/// The query parameter that asks for a bypass.
const PARAMETER: &[u8] = b"no_cache";

/// Who may go past the cache with `?no_cache=true`.
///
/// By default anyone may. That is right for a service behind a gateway; on an open network each such request costs a
/// load, so a public service lets only those pass whom it knows.
///
/// `no_cache=1` asks as well; any other value asks for nothing. The parameter stays in the request, so an extractor that
/// denies unknown fields has to know it. Removals are not bypassed: a writer under `#[invalidates]` removes what it makes
/// untrue, whatever its request asks for.
///
/// # Examples
///
/// ```
/// use dexter_cache::http::{BypassPolicy, CacheContextLayer};
///
/// // Only requests that carry the operator's token.
/// let operators = BypassPolicy::when(|request| {
///     request.headers.get("x-operator").is_some_and(|token| token == "let-me-through")
/// });
/// let layer = CacheContextLayer::new().bypass(operators);
/// # drop(layer);
/// ```
#[derive(Clone, Default)]
pub struct BypassPolicy(Who);

#[derive(Clone, Default)]
enum Who {
    #[default]
    Anyone,
    Never,
    When(Arc<dyn Fn(&Parts) -> bool + Send + Sync>),
}

impl BypassPolicy {
    /// Anyone who asks; the default.
    pub const fn anyone() -> Self {
        Self(Who::Anyone)
    }

    /// Nobody: `?no_cache=true` is ignored.
    pub const fn never() -> Self {
        Self(Who::Never)
    }

    /// Whoever asks and for whom `allowed` says `true`. It is called only for requests that ask, before the handler,
    /// so it sees what outer layers left in the headers and extensions (the user whom they authenticated, for one).
    /// It should be quick: it runs on the request's path and cannot wait.
    pub fn when(allowed: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Who::When(Arc::new(allowed)))
    }

    /// Whether `request` asks for a bypass and may have it.
    pub(super) fn permits<B>(&self, request: http::Request<B>) -> (bool, http::Request<B>) {
        let asks = request.uri().query().is_some_and(asks_for_bypass);
        match &self.0 {
            Who::Anyone => (asks, request),
            Who::When(allowed) if asks => {
                // The body is of no interest and may be anything, so the predicate sees the rest alone.
                let (parts, body) = request.into_parts();
                (allowed(&parts), http::Request::from_parts(parts, body))
            }
            Who::Never | Who::When(_) => (false, request),
        }
    }
}

impl fmt::Debug for BypassPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Who::Anyone => "BypassPolicy::anyone",
            Who::Never => "BypassPolicy::never",
            Who::When(_) => "BypassPolicy::when(..)",
        })
    }
}

/// Whether one of the parameters is `no_cache` with `true` or `1`. Any other value is none: a misspelt `no_cache=ture`
/// gets what everybody gets.
fn asks_for_bypass(query: &str) -> bool {
    query.split('&').any(|pair| {
        pair.split_once('=').is_some_and(|(name, value)| {
            decodes_to(name, PARAMETER) && (decodes_to(value, b"true") || decodes_to(value, b"1"))
        })
    })
}

/// Whether `raw` reads `wanted` once its percent escapes are resolved, as the handler's own parser would read it.
fn decodes_to(raw: &str, wanted: &[u8]) -> bool {
    let mut rest = raw.as_bytes();
    let mut wanted = wanted.iter();
    while let Some((byte, after)) = next_decoded(rest) {
        if wanted.next() != Some(&byte) {
            return false;
        }
        rest = after;
    }
    wanted.next().is_none()
}

fn next_decoded(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [] => None,
        [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, rest)),
            // No escape after all: the percent sign stands for itself.
            _ => Some((b'%', &bytes[1..])),
        },
        [byte, rest @ ..] => Some((*byte, rest)),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_ask_and_queries_that_do_not() {
        for (query, asks) in [
            ("no_cache=true", true),
            ("no_cache=1", true),
            ("a=b&no_cache=true", true),
            ("no_cache=true&a=b", true),
            ("no%5Fcache=true", true),
            ("no%5fcache=true", true),
            ("%6e%6F_cache=tr%75e", true),
            ("no_cache=false&no_cache=true", true),
            ("no_cache=true&no_cache=false", true),
            ("&&no_cache=1&", true),
            ("", false),
            ("no_cache", false),
            ("no_cache=", false),
            ("no_cache=false", false),
            ("no_cache=0", false),
            ("no_cache=TRUE", false),
            ("no_cache=true1", false),
            ("no_cache=11", false),
            ("no_cache=true=", false),
            ("no_cache==true", false),
            ("NO_CACHE=true", false),
            ("xno_cache=true", false),
            ("no_cachex=true", false),
            ("no_cach=true", false),
            ("query=no_cache=true", false),
            ("query=no_cache%3Dtrue", false),
            ("query=a%26no_cache=true", false),
            ("a;no_cache=true", false),
            ("no%5cache=true", false),
            ("no%=true", false),
            ("no_cache=true%", false),
            ("no_cache=true%0", false),
            ("no_cache=true%00", false),
        ] {
            assert_eq!(asks_for_bypass(query), asks, "{query:?}");
        }
    }

    #[test]
    fn the_predicate_is_asked_only_for_requests_that_ask() {
        let policy = BypassPolicy::when(|parts| {
            assert_eq!(
                parts.uri.query(),
                Some("no_cache=true"),
                "asked without need"
            );
            parts.headers.contains_key("x-operator")
        });
        for (uri, operator, permitted) in [
            ("/?no_cache=true", true, true),
            ("/?no_cache=true", false, false),
            ("/?no_cache=no", true, false),
            ("/", true, false),
        ] {
            let mut request = http::Request::builder().uri(uri).body("body").unwrap();
            if operator {
                request
                    .headers_mut()
                    .insert("x-operator", "1".parse().unwrap());
            }
            let (answer, request) = policy.permits(request);
            assert_eq!(answer, permitted, "{uri} operator={operator}");
            assert_eq!(*request.body(), "body");
        }
    }
}
