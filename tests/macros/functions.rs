//! Every form of function that can be annotated, and that it still does what it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dexter_cache::cached;

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Counts its calls.
#[cached(ttl = 300, prefix = "functions.plain")]
async fn plain(id: u64, query: &str, status: Option<&str>) -> Result<String, std::fmt::Error> {
    CALLS.fetch_add(1, Ordering::SeqCst);
    if id == 0 {
        return Err(std::fmt::Error);
    }
    let text = tokio::spawn(async move { id.to_string() })
        .await
        .map_err(|_| std::fmt::Error)?;
    Ok(format!("{text} {query} {status:?}"))
}

#[tokio::test]
async fn a_second_call_does_not_run_the_body() {
    crate::install();
    let first = plain(1, "q", None).await;
    assert_eq!(first.as_deref(), Ok("1 q None"));
    let calls = CALLS.load(Ordering::SeqCst);
    assert_eq!(plain(1, "q", None).await, first);
    assert_eq!(CALLS.load(Ordering::SeqCst), calls);
    assert!(plain(0, "q", None).await.is_err());
    assert!(plain(0, "q", None).await.is_err());
    assert_eq!(CALLS.load(Ordering::SeqCst), calls + 2);
    assert_eq!(plain::peek(1, "q", None).await.unwrap(), Some(first));
    let _ = plain::remove(1, "q", None).await.unwrap();
    assert_eq!(plain::peek(1, "q", None).await.unwrap(), None);
    plain::warm(2, "q", Some("x")).await.unwrap();
    assert!(plain::peek(2, "q", Some("x")).await.unwrap().is_some());
    plain::refresh(2, "q", Some("x")).await.unwrap();
}

#[cached(ttl = "1m", prefix = "functions.recursive")]
async fn recursive(n: u64) -> u64 {
    if n == 0 {
        0
    } else {
        n + recursive(n - 1).await
    }
}

#[tokio::test]
async fn a_function_may_call_itself() {
    assert_eq!(recursive(4).await, 10);
}

type Answer<T> = Result<T, Arc<std::io::Error>>;

#[cached(ttl = "1m", prefix = "functions.alias")]
async fn aliased(n: u64) -> Answer<Option<u64>> {
    match n {
        0 => Err(Arc::new(std::io::Error::other("zero"))),
        1 => Ok(None),
        n => Ok(Some(n)),
    }
}

#[tokio::test]
async fn an_alias_of_result_is_known_for_one() {
    crate::install();
    assert!(aliased(0).await.is_err());
    assert!(aliased::peek(0).await.unwrap().is_none());
    assert_eq!(aliased(1).await.unwrap(), None);
    assert!(aliased::peek(1).await.unwrap().is_none());
    assert_eq!(aliased(2).await.unwrap(), Some(2));
    assert_eq!(aliased::peek(2).await.unwrap().unwrap().unwrap(), Some(2));
}

#[cached(ttl = "1m", prefix = "functions.generic", key(T, N))]
async fn generic<T, const N: usize>(value: T) -> Vec<T>
where
    T: Clone
        + Send
        + Sync
        + dexter_cache::CacheKey
        + serde::Serialize
        + serde::de::DeserializeOwned
        + 'static,
{
    vec![value; N]
}

#[tokio::test]
async fn parameters_are_told_apart() {
    assert_eq!(generic::<u8, 2>(1).await, [1, 1]);
    assert_eq!(generic::<u16, 3>(1).await, [1, 1, 1]);
    assert_eq!(
        generic::key::<u8, 2>(1).as_str(),
        "functions.generic:N=2&T=u8&value=1"
    );
}

#[cached(ttl = "1m", prefix = "functions.patterns", skip(_unused))]
async fn patterns(
    (a, mut b): (u64, u64),
    mut c: String,
    [d, _]: [u8; 2],
    _unused: &mut u8,
) -> String {
    b += 1;
    c.push('!');
    format!("{a} {b} {c} {d}")
}

#[tokio::test]
async fn arguments_can_be_taken_apart() {
    assert_eq!(
        patterns((1, 2), "c".into(), [4, 5], &mut 0).await,
        "1 3 c! 4"
    );
    assert_eq!(
        patterns::key((1, 2), "c".into(), [4, 5]).as_str(),
        "functions.patterns:a=1&b=2&c=c&d=4"
    );
}

#[cached(ttl = "1m", prefix = "functions.impl", skip(show))]
async fn unnamed(
    id: impl Into<u64> + dexter_cache::CacheKey,
    show: impl Fn(u64) -> String,
) -> String {
    show(id.into())
}

#[tokio::test]
async fn arguments_can_be_of_unnamed_types() {
    assert_eq!(unnamed(1_u8, |n| format!("<{n}>")).await, "<1>");
    assert_eq!(unnamed::key(1_u8).as_str(), "functions.impl:id=1");
}

#[cached(ttl = std::time::Duration::from_secs(seconds), prefix = "functions.lifetimes", skip(seconds))]
async fn lifetimes<'a>(left: &'a str, right: &'a [&'a str], seconds: u64) -> usize {
    let _ = seconds;
    left.len() + right.len()
}

#[tokio::test]
async fn lifetimes_can_be_named() {
    assert_eq!(lifetimes("a", &["b", "c"], 1).await, 3);
    assert_eq!(
        lifetimes::key("a", &["b", "c"]).as_str(),
        "functions.lifetimes:left=a&right=b,c"
    );
}

#[derive(Clone)]
struct Client {
    organization: String,
    cache: dexter_cache::Cache,
}

impl Client {
    /// By reference.
    #[cached(ttl = "10m", prefix = "functions.analytics", cache = self.cache, key(organization = self.organization))]
    async fn analytics(&self, range: &str) -> Result<String, std::fmt::Error> {
        Ok(format!("{} {range}", self.organization))
    }

    #[cached(ttl = "10m", prefix = "functions.detached", key(organization = self.organization), detach)]
    async fn detached(&self, range: &str) -> Result<String, std::fmt::Error> {
        Ok(format!("{} {range}", self.organization))
    }

    #[cached(ttl = "10m", prefix = "functions.shared", skip(self))]
    async fn shared(self: Arc<Self>, n: u64) -> u64 {
        n + u64::try_from(self.organization.len()).unwrap_or_default()
    }

    #[cached(ttl = "10m", prefix = "functions.owned", key(organization = self.organization))]
    async fn owned(self, n: u64) -> String {
        format!("{} {n}", self.organization)
    }

    #[cached(ttl = "10m", prefix = "functions.exclusive", skip(self))]
    async fn exclusive(&mut self) -> u64 {
        self.organization.push('!');
        1
    }

    #[cached(assoc, ttl = "10m", prefix = "functions.associated")]
    async fn associated(n: u64) -> u64 {
        n
    }
}

#[tokio::test]
async fn methods_keep_their_receiver() {
    crate::install();
    let mut client = Client {
        organization: "org".into(),
        cache: dexter_cache::Cache::memory(),
    };
    assert_eq!(client.analytics("week").await.as_deref(), Ok("org week"));
    assert_eq!(
        client.analytics_key("week").as_str(),
        "functions.analytics:organization=org&range=week"
    );
    assert_eq!(
        client.analytics_peek("week").await.unwrap(),
        Some(Ok("org week".into()))
    );
    assert_eq!(
        client.analytics_refresh("week").await.as_deref(),
        Ok("org week")
    );
    assert_eq!(
        client.analytics_warm("week").await.as_deref(),
        Ok("org week")
    );
    let _ = client.analytics_remove("week").await.unwrap();
    assert_eq!(client.analytics_peek("week").await.unwrap(), None);
    assert_eq!(client.detached("week").await.as_deref(), Ok("org week"));
    assert_eq!(Arc::new(client.clone()).shared(1).await, 4);
    assert_eq!(client.clone().owned(1).await, "org 1");
    assert_eq!(client.exclusive().await, 1);
    assert_eq!(client.exclusive().await, 1);
    assert_eq!(client.organization, "org!");
    assert_eq!(Client::associated(1).await, 1);
    assert_eq!(
        Client::associated_key(1).as_str(),
        "functions.associated:n=1"
    );
}

struct Repository<'a, T>(&'a T);

impl<T: ToString> Repository<'_, T> {
    #[cached(ttl = "10m", prefix = "functions.repository", key(value = self.0.to_string()))]
    async fn get(&self, id: u64) -> String {
        format!("{} {id}", self.0.to_string())
    }
}

#[tokio::test]
async fn a_generic_impl_needs_nothing_more() {
    assert_eq!(Repository(&1).get(2).await, "1 2");
}

trait Native {
    fn name(&self) -> String;
    async fn get(&self, id: u64) -> Result<String, std::fmt::Error>;
    async fn fixed(id: u64) -> u64;
    #[cached(ttl = 1, prefix = "functions.default", key(name = self.name()), companion = none)]
    async fn default(&self, id: u64) -> String {
        format!("{} {id}", self.name())
    }
}

impl Native for Client {
    fn name(&self) -> String {
        self.organization.clone()
    }

    #[cached(ttl = 1, prefix = "functions.native", key(organization = self.organization), companion = none)]
    async fn get(&self, id: u64) -> Result<String, std::fmt::Error> {
        let number: u64 = id.to_string().parse().map_err(|_| std::fmt::Error)?;
        Ok(format!("{} {number}", self.organization))
    }

    #[cached(assoc, ttl = 1, prefix = "functions.fixed", companion = none)]
    async fn fixed(id: u64) -> u64 {
        id
    }
}

#[async_trait::async_trait]
trait Boxed {
    async fn get(&self, id: u64, name: &str) -> Result<String, std::fmt::Error>;
    async fn pair(&self, pair: (u64, u64)) -> u64;
}

#[async_trait::async_trait]
impl Boxed for Client {
    #[cached(ttl = 1, prefix = "functions.boxed", key(organization = self.organization))]
    async fn get(&self, id: u64, name: &str) -> Result<String, std::fmt::Error> {
        let number: u64 = id.to_string().parse().map_err(|_| std::fmt::Error)?;
        Ok(format!("{} {number} {name}", self.organization))
    }

    #[cached(ttl = 1, prefix = "functions.pair", skip(self, b))]
    async fn pair(&self, (a, b): (u64, u64)) -> u64 {
        a + b
    }
}

#[tokio::test]
async fn traits_can_be_cached() {
    crate::install();
    let client = Client {
        organization: "org".into(),
        cache: dexter_cache::Cache::memory(),
    };
    for _ in 0..2 {
        assert_eq!(Native::get(&client, 1).await.as_deref(), Ok("org 1"));
        assert_eq!(Boxed::get(&client, 1, "n").await.as_deref(), Ok("org 1 n"));
    }
    assert_eq!(client.default(1).await, "org 1");
    assert_eq!(Client::fixed(1).await, 1);
    assert_eq!(client.pair((1, 2)).await, 3);
    assert_eq!(client.pair((1, 5)).await, 3, "`b` is not in the key");
    assert_eq!(client.pair((2, 5)).await, 7, "`a` is");
}

mod other {
    #[dexter_cache::cached(ttl = 1)]
    pub(super) async fn aliased(n: u64) -> u64 {
        n + 1
    }
}

#[tokio::test]
async fn the_default_prefix_is_the_path() {
    assert_eq!(other::aliased(1).await, 2);
    assert_eq!(
        other::aliased::key(1).as_str(),
        "macros.functions.other.aliased:n=1"
    );
}

#[cached(ttl = 1, prefix = "functions.local", local)]
async fn local(n: u64) -> Arc<std::sync::atomic::AtomicU64> {
    Arc::new(n.into())
}

#[tokio::test]
async fn a_local_value_needs_no_serde() {
    crate::install();
    let first = local(1).await;
    assert!(Arc::ptr_eq(&first, &local(1).await));
}

#[cached(ttl = 1, prefix = "functions.unit")]
async fn unit() {}

#[tokio::test]
async fn nothing_can_be_cached() {
    unit().await;
    assert_eq!(unit::key().as_str(), "functions.unit");
}

#[cached(ttl = 1, prefix = "functions.handler", companion = none, skip(agent))]
async fn handler(
    axum::extract::Path(id): axum::extract::Path<u64>,
    axum::extract::State(agent): axum::extract::State<String>,
) -> Result<axum::Json<String>, axum::http::StatusCode> {
    Ok(axum::Json(format!("{id} {agent}")))
}

#[tokio::test]
async fn a_handler_is_a_handler_still() {
    let _: axum::Router = axum::Router::new()
        .route("/{id}", axum::routing::get(handler))
        .with_state(String::new());
}
