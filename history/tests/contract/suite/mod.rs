//! The suite. Its macro makes a test of each story for a backend.

pub(crate) mod bounds;
pub(crate) mod completeness;
pub(crate) mod erasing;
pub(crate) mod lists;
pub(crate) mod stats;
pub(crate) mod stories;

/// Makes the tests of a backend from a function that makes a fixture with so many bytes.
macro_rules! suite {
    ($make:expr) => {
        $crate::suite::suite!(@tests $make;
            stories: an_event_is_told_with_its_deliveries_and_who_did_not_want_it,
            stories: a_delivery_is_told_with_its_attempts,
            stories: a_record_written_twice_counts_once,
            stories: records_may_come_in_any_order,
            stories: an_end_without_an_attempt_is_dead_and_counts_none,
            stories: a_resend_is_another_run,
            stories: a_delivery_to_another_endpoint_brings_its_body,
            stories: each_shape_of_an_event_is_its_own_body,
            stories: everything_is_there_after_a_restart,
            stories: no_text_of_an_event_stops_what_comes_after_it,
            lists: each_filter_finds_what_it_names,
            lists: pages_together_are_the_list_across_days,
            lists: a_search_finds_any_id,
            lists: no_answer_has_another_tenants,
            lists: random_records_are_listed_as_a_naive_model_lists_them,
            stats: counts_are_by_hour_and_day_and_endpoint,
            completeness: a_position_is_remembered,
            completeness: a_process_that_is_silent_leaves_a_gap,
            completeness: a_process_that_ended_leaves_none,
            bounds: days_are_dropped_whole_and_their_late_records_are_only_counted,
            bounds: the_oldest_day_makes_room,
            bounds: a_tenant_beyond_its_share_keeps_records_without_bodies_and_then_nothing,
            bounds: a_tenant_may_keep_less,
            erasing: an_erased_contact_keeps_its_attempts_and_nothing_else,
            erasing: an_erased_event_stays_so_whatever_comes_late,
            erasing: a_forgotten_tenant_begins_empty,
        );
    };
    (@tests $make:expr; $($module:ident: $story:ident,)*) => {$(
        #[tokio::test]
        async fn $story() {
            let make = $make;
            let fixture = make($crate::suite::$module::BYTES).await;
            $crate::suite::$module::$story(fixture).await;
        }
    )*};
}
pub(crate) use suite;
