//! What every broker promises, as scenarios over any [`Fixture`](crate::fixture::Fixture). At-least-once is part of the
//! promise, so they look for ids, not for numbers of messages; and that something does not come is only claimed of a broker
//! that was seen to hand out something later. What only one backend can do is tested next to that backend.

pub(crate) mod due;
pub(crate) mod durability;
pub(crate) mod hand_out;
pub(crate) mod logs;
pub(crate) mod notices;

/// Runs the whole suite on one fixture. The rest are arguments for `tokio::test`.
macro_rules! contract {
    ($fixture:ty, $($how:tt)*) => {
        crate::suite::contract! { @each $fixture, [$($how)*]
            hand_out::a_message_arrives_as_it_was_published
            hand_out::an_event_put_aside_arrives_as_it_was_and_not_among_the_others
            hand_out::a_large_body_arrives_whole
            hand_out::a_message_dropped_unsettled_comes_again_and_says_so
            hand_out::a_message_given_back_comes_again
            hand_out::a_dropped_consumer_gives_back_what_it_had_not_read
            hand_out::a_message_can_be_settled_after_its_consumer_is_gone
            hand_out::consumers_share_and_none_holds_more_than_its_prefetch
            hand_out::a_consumer_holds_no_more_bytes_than_its_prefetch
            hand_out::a_full_fast_lane_does_not_hold_up_the_slow_one
            hand_out::an_event_given_back_too_often_is_parked
            hand_out::a_delivery_given_back_too_often_is_parked
            hand_out::a_running_role_is_granted_its_consumer_and_gets_somewhere
            hand_out::a_closed_broker_takes_nothing_and_ends_its_consumers
            due::nothing_comes_before_its_due_time
            due::the_wait_of_some_deliveries_ends_or_the_broker_says_that_it_cannot
            due::a_far_due_time_does_not_hold_back_a_near_one
            due::what_is_already_due_comes_at_once
            due::the_due_header_is_the_brokers_own
            logs::an_empty_log_ends_at_once
            logs::a_log_is_read_as_often_as_one_likes_with_rising_offsets
            logs::a_log_is_read_from_an_offset
            logs::a_read_ends_where_the_log_ended_when_it_began
            logs::from_the_end_of_a_log_all_is_read_that_comes_later_and_nothing_else
            logs::removed_records_are_gone_or_the_broker_says_that_it_cannot
            logs::each_log_says_how_many_bytes_it_keeps
            logs::the_end_of_a_log_is_found_while_the_log_grows
            notices::a_notice_reaches_every_listener
            notices::notices_come_whole_and_in_order
            notices::what_waits_in_the_lanes_is_counted_by_its_headers
            notices::what_waits_in_each_queue_is_counted
            durability::many_publishes_at_once_are_all_confirmed_and_all_there
            durability::what_was_confirmed_survives_a_crash
            durability::what_was_handed_out_comes_again_after_a_crash
            durability::refused_publishes_show_and_lose_nothing
            durability::what_is_too_large_is_refused_for_good
        }
    };
    (@each $fixture:ty, $how:tt $($part:ident::$scenario:ident)*) => {
        $(crate::suite::contract! { @one $fixture, $how $part $scenario })*
    };
    (@one $fixture:ty, [$($how:tt)*] $part:ident $scenario:ident) => {
        #[tokio::test($($how)*)]
        async fn $scenario() {
            crate::suite::$part::$scenario::<$fixture>().await;
        }
    };
}
pub(crate) use contract;
