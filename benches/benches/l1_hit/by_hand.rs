//! No macro: `quick_cache` as a person would put it into the function.

/// The least that a readable key, a bounded cache and a TTL cost.
pub(crate) mod floor {
    use std::sync::{Arc, LazyLock};

    use benches::{ApiError, Issue, coarse_now};
    use foldhash::fast::RandomState;
    use quick_cache::UnitWeighter;
    use quick_cache::sync::{Cache, DefaultLifecycle};

    const TTL: u64 = 300_000_000_000;

    type Of<V> = LazyLock<Cache<Box<str>, (u64, V), UnitWeighter, RandomState>>;

    fn cache<V: Clone>() -> Cache<Box<str>, (u64, V), UnitWeighter, RandomState> {
        Cache::with(
            100_000,
            100_000,
            UnitWeighter,
            RandomState::default(),
            DefaultLifecycle::default(),
        )
    }

    fn find<V: Clone>(cache: &Of<V>, key: &str, load: impl FnOnce() -> V) -> V {
        if let Some((until, value)) = cache.get(key)
            && coarse_now() < until
        {
            return value;
        }
        let value = load();
        cache.insert(key.into(), (coarse_now() + TTL, value.clone()));
        value
    }

    /// Text on the stack.
    struct Text {
        bytes: [u8; 128],
        len: usize,
    }

    impl Text {
        fn new() -> Self {
            Self {
                bytes: [0; 128],
                len: 0,
            }
        }

        #[inline]
        fn push(mut self, text: &str) -> Self {
            let end = self.len + text.len();
            self.bytes[self.len..end].copy_from_slice(text.as_bytes());
            self.len = end;
            self
        }

        fn push_number(self, mut number: u64) -> Self {
            let mut digits = [0; 20];
            let mut at = digits.len();
            loop {
                at -= 1;
                digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
                if number == 0 {
                    break;
                }
            }
            self.push(std::str::from_utf8(&digits[at..]).unwrap_or_default())
        }

        fn as_str(&self) -> &str {
            std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
        }
    }

    macro_rules! functions {
        ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident) => {
            pub(crate) async fn $borrowed(
                path: &str,
                query: Option<&str>,
            ) -> Result<$value, ApiError> {
                static CACHE: Of<$value> = LazyLock::new(cache);
                let mut key = Text::new().push("get_issue:path=").push(path);
                if let Some(query) = query {
                    key = key.push("&query=").push(query);
                }
                Ok(find(&CACHE, key.as_str(), || $make(path.len() as u64)))
            }

            pub(crate) async fn $owned(
                path: String,
                query: Option<String>,
            ) -> Result<$value, ApiError> {
                static CACHE: Of<$value> = LazyLock::new(cache);
                let mut key = Text::new().push("get_issue:path=").push(&path);
                if let Some(query) = &query {
                    key = key.push("&query=").push(query);
                }
                Ok(find(&CACHE, key.as_str(), || $make(path.len() as u64)))
            }

            pub(crate) async fn $copy(id: u64, page: u32) -> Result<$value, ApiError> {
                static CACHE: Of<$value> = LazyLock::new(cache);
                let key = Text::new().push("get_issue:id=").push_number(id);
                let key = key.push("&page=").push_number(u64::from(page));
                Ok(find(&CACHE, key.as_str(), || $make(id)))
            }
        };
    }

    functions!(
        Arc<Issue>,
        |id| Arc::new(Issue::sample(id)),
        borrowed_arc,
        owned_arc,
        copy_arc
    );
    functions!(
        Issue,
        Issue::sample,
        borrowed_value,
        owned_value,
        copy_value
    );
}

/// As its documentation has it: the arguments are the key, no text is made, and `Instant` is the clock.
pub(crate) mod quick {
    use std::hash::Hash;
    use std::sync::{Arc, LazyLock};
    use std::time::{Duration, Instant};

    use benches::{ApiError, Issue};
    use foldhash::fast::RandomState;
    use quick_cache::sync::{Cache, DefaultLifecycle};
    use quick_cache::{Equivalent, UnitWeighter};

    const TTL: Duration = Duration::from_mins(5);

    type Of<K, V> = LazyLock<Cache<K, (Instant, V), UnitWeighter, RandomState>>;

    fn cache<K: Eq + Hash, V: Clone>() -> Cache<K, (Instant, V), UnitWeighter, RandomState> {
        Cache::with(
            100_000,
            100_000,
            UnitWeighter,
            RandomState::default(),
            DefaultLifecycle::default(),
        )
    }

    fn find<K: Eq + Hash, V: Clone, Q: Hash + Equivalent<K>>(
        cache: &Of<K, V>,
        key: &Q,
        owned: impl FnOnce() -> K,
        load: impl FnOnce() -> V,
    ) -> V {
        if let Some((until, value)) = cache.get(key)
            && Instant::now() < until
        {
            return value;
        }
        let value = load();
        cache.insert(owned(), (Instant::now() + TTL, value.clone()));
        value
    }

    #[derive(Hash)]
    struct Borrowed<'a>(&'a str, Option<&'a str>);

    impl Equivalent<(String, Option<String>)> for Borrowed<'_> {
        fn equivalent(&self, key: &(String, Option<String>)) -> bool {
            self.0 == key.0 && self.1 == key.1.as_deref()
        }
    }

    macro_rules! functions {
        ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident) => {
            pub(crate) async fn $borrowed(
                path: &str,
                query: Option<&str>,
            ) -> Result<$value, ApiError> {
                static CACHE: Of<(String, Option<String>), $value> = LazyLock::new(cache);
                let owned = || (path.to_owned(), query.map(str::to_owned));
                Ok(find(&CACHE, &Borrowed(path, query), owned, || {
                    $make(path.len() as u64)
                }))
            }

            pub(crate) async fn $owned(
                path: String,
                query: Option<String>,
            ) -> Result<$value, ApiError> {
                static CACHE: Of<(String, Option<String>), $value> = LazyLock::new(cache);
                let key = (path, query);
                Ok(find(
                    &CACHE,
                    &key,
                    || key.clone(),
                    || $make(key.0.len() as u64),
                ))
            }

            pub(crate) async fn $copy(id: u64, page: u32) -> Result<$value, ApiError> {
                static CACHE: Of<(u64, u32), $value> = LazyLock::new(cache);
                Ok(find(&CACHE, &(id, page), || (id, page), || $make(id)))
            }
        };
    }

    functions!(
        Arc<Issue>,
        |id| Arc::new(Issue::sample(id)),
        borrowed_arc,
        owned_arc,
        copy_arc
    );
    functions!(
        Issue,
        Issue::sample,
        borrowed_value,
        owned_value,
        copy_value
    );
}
