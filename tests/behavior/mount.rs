/// Makes a test of each behaviour, each with a backend of its own from `$fresh`.
///
/// `$fresh` is a function without arguments whose future gives `(Arc<dyn CacheBackend>, alive)`; `alive` is dropped
/// when the test is over. The backend is ready: one that has to connect has been pinged.
macro_rules! mount {
    ($fresh:path) => {
        mount! { @tests $fresh;
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
    (@tests $fresh:path; $($theme:ident::$behavior:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behavior() {
                let (backend, _alive) = $fresh().await;
                crate::$theme::$behavior(backend).await;
            }
        )+
    };
}
