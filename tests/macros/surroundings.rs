//! What stands around an annotated function, and what its arguments are called, does not get in its way.

use dexter_cache::{CacheKey, cached, invalidates};

#[cached(ttl = 1, prefix = "surroundings.issue")]
async fn issue(issue: u64) -> u64 {
    issue
}

#[cached(ttl = 1, prefix = "surroundings.key")]
async fn key(key: &str, cache: u8, value: u8, result: u8, miss: u8) -> usize {
    key.len() + usize::from(cache + value + result + miss)
}

#[invalidates(issue(issue), key(key, 1, 2, 3, 4))]
async fn write(issue: u64, key: &str) -> u64 {
    issue + u64::from(key.is_empty())
}

#[tokio::test]
async fn arguments_may_be_called_like_the_function_and_like_what_is_made_of_it() {
    crate::install();
    assert_eq!(issue::warm(7).await, 7);
    assert_eq!(issue::peek(7).await.unwrap(), Some(7));
    assert_eq!(issue::refresh(7).await, 7);
    assert_eq!(key::warm("a", 1, 2, 3, 4).await, 11);
    assert_eq!(write(7, "a").await, 7);
    assert_eq!(issue::peek(7).await.unwrap(), None);
    assert_eq!(key::peek("a", 1, 2, 3, 4).await.unwrap(), None);
}

/// The attribute stands before the condition.
#[cached(ttl = 1, prefix = "surroundings.here")]
#[cfg(test)]
async fn here() -> u64 {
    1
}

#[cached(ttl = 1, prefix = "surroundings.there")]
#[cfg(not(test))]
async fn here() -> u64 {
    0
}

struct Client(u64);

impl Client {
    #[cached(ttl = 1, prefix = "surroundings.method", key(id = self.0), detach)]
    #[cfg(test)]
    async fn method(self: std::sync::Arc<Self>) -> u64 {
        self.0
    }

    #[cached(ttl = 1, prefix = "surroundings.method", key(id = self.0))]
    #[cfg(not(test))]
    async fn method(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn companions_are_there_when_the_function_is() {
    assert_eq!(here::key().as_str(), "surroundings.here");
    let client = std::sync::Arc::new(Client(3));
    assert_eq!(client.method_key().as_str(), "surroundings.method:id=3");
    assert_eq!(client.method().await, 3);
}

#[cached(ttl = 1, prefix = "surroundings.within")]
async fn within(id: u64) -> u64 {
    struct Doubled(u64);
    impl Doubled {
        fn of(id: u64) -> Self {
            Self(id * 2)
        }
    }
    Doubled::of(id).0
}

#[tokio::test]
async fn a_body_may_hold_items_that_say_self() {
    assert_eq!(within(2).await, 4);
}

#[cached(ttl = 1, prefix = "surroundings.references")]
async fn references(&(a, b): &(u64, u64), (&c, d): (&u64, u64)) -> u64 {
    a + b + c + d
}

#[tokio::test]
async fn patterns_may_look_through_references() {
    assert_eq!(references(&(1, 2), (&3, 4)).await, 10);
    assert_eq!(
        references::key(&(1, 2), (&3, 4)).as_str(),
        "surroundings.references:a=1&b=2&c=3&d=4"
    );
}

macro_rules! endpoint {
    ($name:ident, $prefix:literal, $ttl:expr, $this:ident, ($arg:pat, $ty:ty) => $out:ty, $body:expr) => {
        #[cached(ttl = $ttl, prefix = $prefix, key(id = $this.0))]
        async fn $name(&$this, $arg: $ty) -> $out {
            $body
        }
    };
}

impl Client {
    endpoint!(made, "surroundings.made", "5m", self, ((a, b), (u64, &str)) => u64, {
        self.0 + a + u64::try_from(b.len()).unwrap()
    });
}

#[tokio::test]
async fn a_macro_may_make_the_function() {
    crate::install();
    let client = Client(1);
    assert_eq!(client.made((2, "a")).await, 4);
    assert_eq!(client.made_peek((2, "a")).await.unwrap(), Some(4));
}

/// Nothing of the prelude, and other things of its names.
#[allow(dead_code, non_camel_case_types, reason = "they are only in the way")]
#[no_implicit_prelude]
mod bare {
    use ::dexter_cache::{CacheKey, cached, invalidates};

    struct Result;
    struct Option;
    struct Box;
    struct Clone;
    struct Debug;
    struct From;
    struct Sized;
    struct bool;
    mod core {}
    mod std {}
    mod dexter_cache {}

    #[derive(CacheKey)]
    pub(super) struct Page {
        number: u32,
    }

    #[derive(CacheKey)]
    pub(super) enum Order {
        Newest,
        By {
            column: u8,
            #[cache_key(flatten)]
            page: Page,
        },
    }

    #[cached(ttl = "5m", stale = "1h", none_ttl = 5, tags = ["x:{id}"], refresh_ahead = 0.8, soft_timeout = "1s")]
    pub(super) async fn read(
        id: u64,
        order: ::core::option::Option<u8>,
    ) -> ::core::option::Option<u64> {
        order.map(|order| id + ::core::convert::Into::<u64>::into(order))
    }

    #[invalidates(read(id, ::core::option::Option::None), read::matching().id(id), tag = "x:{id}", before, if = id > 0)]
    pub(super) async fn write(id: u64) -> ::core::result::Result<u64, ::std::io::Error> {
        ::core::result::Result::Ok(id)
    }

    pub(super) struct Client(u64);

    impl Client {
        #[cached(assoc, ttl = 1, prefix = "surroundings.bare", detach)]
        pub(super) async fn fixed(order: u8) -> u64 {
            ::core::convert::Into::into(order)
        }

        #[invalidates(Self::fixed(1))]
        pub(super) async fn write() -> u64 {
            1
        }
    }
}

#[tokio::test]
async fn the_prelude_is_not_needed() {
    crate::install();
    assert_eq!(bare::read(1, Some(2)).await, Some(3));
    assert_eq!(bare::write(1).await.ok(), Some(1));
    assert_eq!(bare::read::peek(1, Some(2)).await.unwrap(), None);
    assert_eq!(bare::Client::fixed(1).await, 1);
    assert_eq!(bare::Client::write().await, 1);
    assert_eq!(bare::Client::fixed_peek(1).await.unwrap(), None);
}

trait Store {
    type Row;
    fn row(&self) -> Self::Row;
}

struct Fallible;

impl Store for Fallible {
    type Row = Result<u64, String>;
    fn row(&self) -> Self::Row {
        Err("down".into())
    }
}

struct Reader<S>(S);

impl<S: Store<Row: CacheableRow> + Sync> Reader<S> {
    #[cached(ttl = 1, prefix = "surroundings.row", skip(self))]
    async fn row(&self) -> S::Row {
        self.0.row()
    }
}

trait CacheableRow:
    Clone + Send + Sync + serde::Serialize + serde::de::DeserializeOwned + 'static
{
}
impl CacheableRow for Result<u64, String> {}

#[tokio::test]
async fn an_error_is_not_stored_where_no_type_tells_it_for_one() {
    crate::install();
    let reader = Reader(Fallible);
    assert_eq!(reader.row().await, Err("down".into()));
    assert_eq!(reader.row_peek().await.unwrap(), None);
}

#[derive(CacheKey)]
struct Generic<T> {
    size: u8,
    #[cache_key(flatten)]
    rest: T,
}

#[test]
fn a_parameter_may_be_flattened() {
    let value = Generic {
        size: 1,
        rest: Generic { size: 2, rest: () },
    };
    let key = dexter_cache::Key::new("p").part("g", &value);
    assert_eq!(
        key.as_str(),
        "p:g.size=1&g.size=2",
        "only a type that is written is known"
    );
}
