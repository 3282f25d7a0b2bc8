//! The promises of every store that can be changed, as scenarios over any [`Fixture`](crate::fixture::Fixture).

pub(crate) mod control_state;
pub(crate) mod edits;
pub(crate) mod rotation;
pub(crate) mod snapshots;
pub(crate) mod usage_and_audit;
pub(crate) mod walk;

/// Runs the whole suite on one fixture, or the part about what control keeps.
macro_rules! contract {
    ($fixture:ty) => {
        crate::suite::contract! { control_state of $fixture }
        crate::suite::contract! { @each $fixture,
            edits::an_edit_is_durable_and_in_the_snapshot_when_it_is_answered
            edits::a_refused_edit_changes_nothing
            edits::an_invalid_result_is_refused_with_its_places
            edits::a_dry_run_says_what_would_change_and_changes_nothing
            edits::an_edit_that_changes_nothing_makes_no_revision
            edits::everything_has_the_version_that_changed_it
            edits::everything_keeps_the_revision_that_created_it_until_it_is_made_anew
            edits::a_tenant_made_anew_is_another_one_also_within_one_edit
            edits::who_knows_an_old_version_is_refused
            edits::what_another_tenant_has_cannot_be_taken
            edits::tokens_and_keys_can_move_in_one_edit
            edits::a_tenant_that_was_not_reached_for_is_not_overwritten
            edits::a_tenant_made_again_has_nothing_of_the_old_one
            edits::concurrent_editors_of_one_tenant_lose_nothing
            rotation::what_was_rotated_is_found_beside_the_new_until_it_ends
            rotation::what_another_tenant_is_retiring_cannot_be_taken
            rotation::what_has_ended_is_forgotten_when_its_own_is_changed
            snapshots::what_an_edit_does_not_touch_stays_the_same_value
            snapshots::sources_and_keys_are_found_by_what_is_presented
            snapshots::secrets_come_back_after_reopening
            snapshots::after_a_look_the_snapshot_is_known_to_be_the_newest
            walk::after_random_edits_a_store_shows_the_same_as_one_in_memory
            usage_and_audit::usage_is_summed_over_processes_and_an_old_report_changes_nothing
            usage_and_audit::usage_is_listed_by_day_and_endpoint
            usage_and_audit::usage_is_rolled_up_once_and_a_late_report_of_such_a_day_counts_nothing
            usage_and_audit::the_audit_log_says_who_changed_what_the_newest_first_and_hides_secrets
            usage_and_audit::the_audit_log_has_what_changed_nothing_of_the_configuration
            usage_and_audit::the_audit_log_is_read_in_pages_and_per_tenant
            usage_and_audit::the_audit_log_forgets_what_is_older_than_asked
            usage_and_audit::of_what_is_long_the_audit_log_keeps_what_changed
        }
    };
    (control_state of $fixture:ty) => {
        crate::suite::contract! { @each $fixture,
            control_state::a_job_and_its_progress_outlive_the_process
            control_state::a_job_ends_once_and_its_last_progress_is_kept
            control_state::jobs_beyond_the_most_of_their_kind_are_not_inserted_until_one_ends
            control_state::jobs_are_listed_newest_first_in_pages_and_per_tenant
            control_state::jobs_that_ended_are_deleted_by_age_and_beyond_a_number_of_each_tenant
            control_state::a_lease_is_its_holders_until_it_runs_out_or_is_released
            control_state::a_lease_that_many_want_at_once_goes_to_one
        }
    };
    (@each $fixture:ty, $($part:ident::$scenario:ident)*) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                crate::suite::$part::$scenario::<$fixture>().await;
            }
        )*
    };
}
pub(crate) use contract;
