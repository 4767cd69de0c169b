//! What every [`CacheBackend`] must do: a suite to run against one of your own.
//!
//! A behaviour is an async function that is handed a backend, which may hold entries of others: it touches only keys
//! under a beginning of its own, so all of them can share a server. It panics where the backend does something else. What a
//! backend says it cannot do ([`Capabilities`](crate::backend::Capabilities)) is not asked of it. Time is real here.
//!
//! [`backend_behavior!`](crate::test_util::backend_behavior) makes a test of each behaviour, [`check_all`] runs them in a row:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use dexter_cache::backend::MemoryBackend;
//! use dexter_cache::test_util::behavior;
//!
//! behavior::check_all(|| async { MemoryBackend::new(100_000) }).await;
//! # }
//! ```

#[doc(hidden)]
pub mod conditions;
#[doc(hidden)]
pub mod expiry;
mod fixture;
#[doc(hidden)]
pub mod patterns;
#[doc(hidden)]
pub mod reads;
#[doc(hidden)]
pub mod removals;
#[doc(hidden)]
pub mod sequences;
#[doc(hidden)]
pub mod values;

use std::future::Future;
use std::sync::Arc;

use crate::backend::CacheBackend;

/// Makes a test of each behaviour that every backend must have.
///
/// The argument names a function without arguments whose future gives `(Arc<dyn CacheBackend>, alive)`; it is called
/// once a test, and `alive` (a server, a folder, or `()`) is dropped when the test is over. The backend is ready: one that
/// has to connect has been pinged. The tests are `#[tokio::test]`s on two threads, so tokio is needed with `macros` and
/// `rt-multi-thread`; put them into a module of their own.
///
/// ```
/// mod my_backend {
///     use std::sync::Arc;
///     use dexter_cache::backend::{CacheBackend, MemoryBackend};
///
///     async fn fresh() -> (Arc<dyn CacheBackend>, ()) {
///         (Arc::new(MemoryBackend::new(100_000)), ())
///     }
///
///     dexter_cache::test_util::backend_behavior!(fresh);
/// }
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! backend_behavior {
    ($fresh:path) => {
        $crate::backend_behavior! { @list tests $fresh }
    };
    (@list $how:ident $($with:tt)*) => {
        $crate::backend_behavior! { @$how ($($with)*)
            reads::what_was_set_is_found,
            reads::what_was_never_set_is_absent,
            reads::the_last_of_two_sets_counts,
            reads::get_many_keeps_order_holes_and_duplicates,
            reads::get_many_of_nothing_is_nothing,
            reads::get_many_takes_more_keys_than_a_command_should,
            reads::ping_answers_and_disturbs_nothing,
            values::the_empty_value_is_a_value,
            values::every_byte_comes_back,
            values::a_mebibyte_comes_back,
            values::keys_may_hold_any_character,
            values::keys_may_be_long,
            values::keys_that_look_alike_are_different,
            expiry::gone_after_its_ttl_and_never_before,
            expiry::a_set_begins_the_ttl_anew,
            expiry::a_later_set_may_shorten_the_ttl,
            expiry::a_ttl_below_a_millisecond_counts_as_one,
            expiry::a_ttl_of_ages_is_no_overflow,
            expiry::what_has_expired_counts_as_absent_everywhere,
            conditions::absent_writes_only_into_a_hole,
            conditions::matches_compares_the_beginning,
            conditions::matches_needs_a_value_that_is_long_enough,
            conditions::matches_fails_where_nothing_is,
            conditions::matches_compares_bytes_not_text,
            conditions::a_removal_voids_what_matches_would_have_met,
            conditions::of_many_that_race_for_a_hole_one_wins,
            conditions::of_many_that_race_for_a_value_one_wins,
            conditions::compare_and_set_loses_no_step,
            removals::a_removed_key_is_absent,
            removals::remove_counts_what_was_there,
            removals::remove_counts_a_key_once,
            removals::remove_of_nothing_is_zero,
            removals::remove_takes_more_keys_than_a_command_should,
            removals::of_many_that_remove_a_key_one_counts_it,
            removals::a_dropped_set_happened_or_did_not,
            patterns::a_pattern_removes_what_it_matches,
            patterns::a_pattern_without_wildcards_is_one_key,
            patterns::an_escaped_key_is_that_key_alone,
            patterns::classes_and_single_characters,
            patterns::only_what_the_filter_lets_pass_goes,
            patterns::thousands_of_keys_go_in_one_call,
            patterns::keys_written_meanwhile_do_not_save_the_others,
            patterns::a_pattern_that_matches_nothing_removes_nothing,
            sequences::any_sequence_does_what_a_map_does,
        }
    };
    (@tests ($fresh:path) $($theme:ident::$behavior:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behavior() {
                let (backend, _alive) = $fresh().await;
                $crate::test_util::behavior::$theme::$behavior(backend).await;
            }
        )+
    };
    (@row ($next:ident) $($theme:ident::$behavior:ident,)+) => {
        $( self::$theme::$behavior($next().await).await; )+
    };
}

/// Runs every behaviour, one after the other, each with a backend of its own from `fresh`.
///
/// The backend is ready: one that has to connect has been pinged.
///
/// # Panics
///
/// Where the backend does not do what it must.
///
/// # Cost
///
/// Some seconds, most of them waiting for values to expire.
pub async fn check_all<B, F>(mut fresh: impl FnMut() -> F)
where
    B: CacheBackend,
    F: Future<Output = B>,
{
    let mut next = async || Arc::new(fresh().await) as Arc<dyn CacheBackend>;
    crate::backend_behavior! { @list row next }
}
