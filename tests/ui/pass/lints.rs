//! No lint of a strict crate fires on what the attributes make.
#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    unused_results,
    unused_lifetimes,
    single_use_lifetimes,
    let_underscore_drop,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    trivial_casts,
    trivial_numeric_casts,
    variant_size_differences,
    rust_2018_idioms,
    non_ascii_idents,
    redundant_lifetimes,
    unnameable_types,
    unit_bindings,
    impl_trait_redundant_captures,
    tail_expr_drop_order,
    unused,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::cargo,
    clippy::shadow_same,
    clippy::shadow_reuse,
    clippy::shadow_unrelated,
    clippy::pattern_type_mismatch
)]
#![allow(
    clippy::future_not_send,
    reason = "one of the functions is not `Send`, on purpose"
)]
#![allow(
    clippy::multiple_crate_versions,
    clippy::cargo_common_metadata,
    reason = "not about code that is generated"
)]
#![forbid(unsafe_code)]

use std::sync::Arc;

use dexter_cache::{Cache, CacheKey, cached, invalidates};

/// An issue.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Issue {
    /// Its number.
    pub id: u64,
}

/// A filter.
#[derive(Debug, Clone, CacheKey)]
#[cache_key(rename_all = "camelCase")]
pub struct Filter<'a, T> {
    /// A status.
    pub issue_status: Option<&'a str>,
    /// The rest.
    #[cache_key(flatten)]
    pub rest: T,
}

/// An order.
#[derive(Debug, Clone, Copy, CacheKey)]
pub enum Order {
    /// By time.
    Newest,
    /// By a column.
    By {
        /// Its number.
        column: u8,
    },
}

/// Public, borrowed, with a result.
#[cached(ttl = 300, prefix = "list_issues")]
pub async fn list_issues(
    organization: &str,
    project: &str,
    status: Option<&str>,
) -> Result<Vec<Issue>, std::fmt::Error> {
    if organization == project {
        return Err(std::fmt::Error);
    }
    Ok(vec![Issue {
        id: status.map_or(0, str::len) as u64,
    }])
}

/// No `.await` in the body.
#[cached(ttl = "1m")]
async fn get_issue(id: u64) -> Option<Arc<Issue>> {
    (id > 0).then(|| Arc::new(Issue { id }))
}

/// Never returns.
#[cached(ttl = "1m")]
async fn never(id: u64) -> u64 {
    todo!("{id}")
}

/// Unit.
#[cached(ttl = "1m", local)]
pub(crate) async fn nothing() {}

/// Expects what it has.
#[expect(clippy::cast_possible_truncation, reason = "small")]
#[cached(ttl = "1m")]
async fn expecting(mut id: u64, _unused: u8) -> u32 {
    id += 1;
    id as u32
}

/// Not `Send`.
#[cached(ttl = "1m", skip(_query))]
async fn not_send(id: u64, (_query, page): (String, u8)) -> u64 {
    let rc = std::rc::Rc::new(id);
    std::future::ready(()).await;
    *rc + u64::from(page)
}

/// Generic.
#[cached(ttl = std::time::Duration::from_secs(seconds), key(T, N), skip(seconds))]
pub async fn generic<'a, T, const N: usize>(value: &'a [T; N], seconds: u64) -> usize
where
    T: CacheKey + Sync + 'a,
{
    value.len()
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    organization: String,
    cache: Cache,
}

impl Client {
    /// In place.
    ///
    /// # Errors
    ///
    /// Never.
    #[cached(ttl = "10m", prefix = "analytics", cache = self.cache, key(organization = self.organization))]
    pub async fn analytics(
        &self,
        filter: Filter<'_, u64>,
        order: Order,
    ) -> Result<String, std::fmt::Error> {
        Ok(format!(
            "{}{:?}{order:?}",
            self.organization, filter.issue_status
        ))
    }

    /// Detached.
    #[cached(ttl = "10m", prefix = "detached", key(organization = self.organization), detach)]
    pub async fn detached(&self, range: &str) -> String {
        format!("{} {range}", self.organization)
    }

    /// No receiver.
    #[cached(assoc, ttl = "10m", prefix = "assoc", version = 2, companion = fixed_cache)]
    #[must_use]
    pub async fn fixed(n: u64) -> u64 {
        n
    }

    /// Writes.
    #[invalidates(Self::analytics(Filter { issue_status: None, rest: result.id }, Order::Newest), self.detached("x"), pattern = "list_issues:organization={organization}&*", cache = self.cache)]
    async fn write(&self, organization: &str) -> Result<Issue, std::fmt::Error> {
        Ok(Issue {
            id: organization.len() as u64,
        })
    }
}

/// Writes.
#[invalidates(get_issue(id), key = "raw:{id}")]
pub async fn write(id: u64) -> Result<(), Box<dyn std::error::Error>> {
    if id == 0 {
        return Err("zero".into());
    }
    Ok(())
}

/// Parts with odd names.
#[cached(ttl = "1m")]
pub async fn odd(r#type: u8, remove: &str, clone: bool, next: u8) -> usize {
    remove.len() + usize::from(r#type) + usize::from(clone) + usize::from(next)
}

/// Writes, sometimes.
///
/// # Errors
///
/// None.
#[invalidates(get_issue(id), key = "raw:{id}", before, always, if = id > 0)]
pub async fn write_before(id: u64) -> Result<(), std::fmt::Error> {
    std::future::ready(Ok(())).await
}

/// Writes, and asks what came of it.
#[invalidates(get_issue(id), get_issue(result.id), list_issues::matching().project(&name), if = result.id > id && name.is_empty())]
async fn write_if(id: u64, name: String) -> Issue {
    drop(name);
    Issue { id }
}

/// A trait.
pub trait Reads {
    /// Reads.
    fn read(&self, id: u64) -> impl Future<Output = u64>;
}

impl Reads for Client {
    #[cached(ttl = 1, prefix = "reads", skip(self), companion = none)]
    async fn read(&self, id: u64) -> u64 {
        id
    }
}

/// A boxed trait.
#[async_trait::async_trait]
pub trait Boxed {
    /// Reads.
    async fn boxed(&self, id: u64) -> Result<u64, std::fmt::Error>;
}

#[async_trait::async_trait]
impl Boxed for Client {
    #[cached(ttl = 1, prefix = "boxed", skip(self))]
    async fn boxed(&self, id: u64) -> Result<u64, std::fmt::Error> {
        Ok(id)
    }
}

fn main() {
    let client = Client {
        organization: String::new(),
        cache: Cache::memory(),
    };
    drop((
        get_issue(1),
        never(1),
        nothing(),
        expecting(1, 2),
        not_send(1, (String::new(), 1)),
        client.write("x"),
        write_if(1, String::new()),
        list_issues::matching().project("x").status(None).remove(),
        get_issue::matching().id(1).pattern(),
        Client::analytics_matching().part("order", &Order::Newest),
    ));
}
