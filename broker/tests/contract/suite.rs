//! What every broker promises, as scenarios over any [`Fixture`](crate::fixture::Fixture). At-least-once is part of
//! the promise, so they look for ids, not for numbers of messages; "not yet" is only claimed of a pipeline that was
//! seen alive. What only one backend can do is tested next to that backend.

/// Runs the whole suite on one fixture. The rest are arguments for `tokio::test`.
macro_rules! contract {
    ($fixture:ty, $($how:tt)*) => {
        crate::suite::contract!(@each $fixture, [$($how)*]
            a_message_arrives_as_it_was_published
        );
    };
    (@each $fixture:ty, $how:tt $($scenario:ident)*) => {
        $(crate::suite::contract!(@one $fixture, $how $scenario);)*
    };
    (@one $fixture:ty, [$($how:tt)*] $scenario:ident) => {
        #[tokio::test($($how)*)]
        async fn $scenario() {
            crate::suite::$scenario::<$fixture>().await;
        }
    };
}
pub(crate) use contract;
