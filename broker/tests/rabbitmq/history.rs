//! The stream of history records on a real node.

use broker::rabbitmq::HistoryBatch;
use futures_util::{StreamExt as _, stream::BoxStream};
use lapin::options::QueueDeleteOptions;
use tokio::time::timeout;

use crate::fixture::{Fixture, TIMEOUT, connect};

type Following = BoxStream<'static, Result<HistoryBatch, broker::ReadError>>;

async fn next(following: &mut Following) -> HistoryBatch {
    timeout(TIMEOUT, following.next()).await.expect("in time").expect("it goes on").expect("a batch")
}

async fn append(fixture: &Fixture, batch: &'static str) {
    let appended = timeout(TIMEOUT, fixture.broker.append_history(batch.into())).await;
    appended.expect("in time").expect("confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_every_batch_and_goes_on_where_it_was() {
    let fixture = Fixture::start().await;
    append(&fixture, "first").await;
    append(&fixture, "second").await;
    let mut following = fixture.broker.follow_history(0);
    let (first, second) = (next(&mut following).await, next(&mut following).await);
    assert_eq!((&*first.bytes, &*second.bytes), (&b"first"[..], &b"second"[..]));
    append(&fixture, "third").await;
    let third = next(&mut following).await;
    assert_eq!(&*third.bytes, b"third");
    drop(following);

    let mut again = fixture.broker.follow_history(first.offset + 1);
    assert_eq!([next(&mut again).await, next(&mut again).await], [second, third]);
    append(&fixture, "fourth").await;
    let fourth = next(&mut again).await;
    assert_eq!((&*fourth.bytes, fourth.follows_a_loss), (&b"fourth"[..], false), "markers are no loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_told_when_the_stream_was_made_anew() {
    let fixture = Fixture::start().await;
    append(&fixture, "before").await;
    append(&fixture, "before").await;
    let mut following = fixture.broker.follow_history(0);
    let known = next(&mut following).await.offset + 100;
    drop(following);
    let deleted = fixture.channel.queue_delete(fixture.name("history").into(), QueueDeleteOptions::default());
    timeout(TIMEOUT, deleted).await.expect("in time").expect("deleted");

    let anew = connect(&fixture.config);
    timeout(TIMEOUT, anew.first_session()).await.expect("in time").expect("declares it again");
    append(&fixture, "after").await;
    let mut following = anew.follow_history(known);
    let after = next(&mut following).await;
    assert_eq!((&*after.bytes, after.follows_a_loss), (&b"after"[..], true));
}
