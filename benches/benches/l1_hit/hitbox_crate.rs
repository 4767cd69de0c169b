//! `hitbox` 0.2: `#[cached]` over its moka backend, with the codec that its documentation recommends. It holds bytes and
//! decodes them on every hit, so that `Arc<T>` costs a decoding, too. Its macro refuses borrowed arguments: they are made
//! owned first.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use benches::{ApiError, Issue};
use hitbox::policy::PolicyConfig;
use hitbox_backend::format::BincodeFormat;
use hitbox_fn::{Cache, cached};
use hitbox_moka::MokaBackend;

use crate::hitbox_answer::Answer;

static CACHE: LazyLock<
    Cache<MokaBackend<BincodeFormat>, hitbox::concurrency::NoopConcurrencyManager>,
> = LazyLock::new(|| {
    Cache::builder()
        .backend(
            MokaBackend::builder()
                .max_entries(100_000)
                .value_format(BincodeFormat)
                .build(),
        )
        .policy(PolicyConfig::builder().ttl(Duration::from_mins(5)).build())
        .build()
});

macro_rules! functions {
    ($value:ty, $make:expr, $borrowed:ident, $owned:ident, $copy:ident, $inner:ident) => {
        mod $inner {
            use super::*;

            #[cached]
            pub(super) async fn $owned(
                path: String,
                query: Option<String>,
            ) -> Result<Answer<$value>, ApiError> {
                let _ = query;
                let make = $make;
                Ok(Answer(make(path.len() as u64)))
            }

            #[cached]
            pub(super) async fn $copy(id: u64, page: u32) -> Result<Answer<$value>, ApiError> {
                let make = $make;
                Ok(Answer(make(id + u64::from(page))))
            }
        }

        pub(crate) async fn $borrowed(
            path: &str,
            query: Option<&str>,
        ) -> Result<Answer<$value>, ApiError> {
            $inner::$owned(path.to_owned(), query.map(str::to_owned))
                .cache(&*CACHE)
                .await
        }

        pub(crate) async fn $owned(
            path: String,
            query: Option<String>,
        ) -> Result<Answer<$value>, ApiError> {
            $inner::$owned(path, query).cache(&*CACHE).await
        }

        pub(crate) async fn $copy(id: u64, page: u32) -> Result<Answer<$value>, ApiError> {
            $inner::$copy(id, page).cache(&*CACHE).await
        }
    };
}

functions!(
    Arc<Issue>,
    |id| Arc::new(Issue::sample(id)),
    borrowed_arc,
    owned_arc,
    copy_arc,
    arc
);
functions!(
    Issue,
    Issue::sample,
    borrowed_value,
    owned_value,
    copy_value,
    value
);
