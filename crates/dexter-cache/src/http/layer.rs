//! [`CacheContextLayer`]: the options.

use tower_layer::Layer;

use super::bypass::BypassPolicy;
use super::service::CacheContextService;

/// Gives every request a scope of its own: `?no_cache=true`, `X-Cache` and `Cache-Control`, as the
/// [module](crate::http) describes.
///
/// Place it inside of what decides about the request (authentication, rate limits, CORS), so that those have spoken
/// before a bypass is granted. In axum the layer added last is the outermost.
///
/// # Nesting
///
/// A second layer further in, on one route, takes part in the scope of the first: it adds its wish for
/// [`cache_control`](CacheContextLayer::cache_control), and its bypass policy **only if it was given one**; it may grant
/// what the outer one refused, never take back what that granted. The headers are written once, by the outermost.
///
/// # Cost
///
/// One small allocation a request for the record, and one request extension. The inner future is not boxed.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use dexter_cache::http::{BypassPolicy, CacheContextLayer};
///
/// async fn report() -> &'static str {
///     "made of several annotated calls"
/// }
///
/// let app: Router = Router::new()
///     .route("/report", get(report).layer(CacheContextLayer::new().cache_control(true)))
///     .layer(CacheContextLayer::new().bypass(BypassPolicy::never()));
/// # drop(app);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CacheContextLayer {
    options: Options,
}

/// What a layer was told, shared with its services.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// `None`: whatever the outer layer decided, and without one, anyone.
    pub(super) bypass: Option<BypassPolicy>,
    pub(super) cache_control: bool,
}

impl CacheContextLayer {
    /// A layer with the defaults: anyone may bypass, and only annotated handlers get a `Cache-Control`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who may go past the cache with `?no_cache=true`. The default is [`BypassPolicy::anyone`].
    #[must_use]
    pub fn bypass(mut self, policy: BypassPolicy) -> Self {
        self.options.bypass = Some(policy);
        self
    }

    /// Whether responses get a `Cache-Control` although their handler is not annotated: `max-age` is then what is left
    /// of the entry that expires first among those that the handler used. `false` by default; say it on the routes
    /// whose whole answer is made of cached values.
    #[must_use]
    pub fn cache_control(mut self, wanted: bool) -> Self {
        self.options.cache_control = wanted;
        self
    }
}

impl<S> Layer<S> for CacheContextLayer {
    type Service = CacheContextService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheContextService::new(inner, self.options.clone())
    }
}
