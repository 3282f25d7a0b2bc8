//! The logs: appended to, read, never settled.

use broker::{Broker, Log, Record, Target};
use futures_util::{StreamExt, stream};

use crate::{
    fixture::{Fixture, eventually},
    story::{message, publish, read},
};

pub(crate) async fn an_empty_log_ends_at_once<F: Fixture>() {
    let fixture = F::start().await;
    assert_eq!(read(&*fixture.broker(), Log::Dead, 0).await, []);
    append(&*fixture.broker(), Log::Dead, 0..1).await;
    assert_eq!(read(&*fixture.broker(), Log::Parked, 0).await, [], "the other one is still empty");
}

pub(crate) async fn a_log_is_read_as_often_as_one_likes_with_rising_offsets<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    append(&*broker, Log::Dead, 0..300).await;
    let first = read(&*broker, Log::Dead, 0).await;
    assert_eq!(first, read(&*broker, Log::Dead, 0).await);
    assert_eq!(ids(&first), (0..300).map(|id| id.to_string()).collect::<Vec<_>>());
    assert!(first.is_sorted_by(|one, next| one.offset < next.offset), "offsets rise");
    assert!(first.iter().all(|record| record.key == "exhausted.acme"));
    assert_eq!(first[7].message, message(7));
}

pub(crate) async fn a_log_is_read_from_an_offset<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    append(&*broker, Log::Parked, 0..50).await;
    let all = read(&*broker, Log::Parked, 0).await;
    assert_eq!(read(&*broker, Log::Parked, all[20].offset).await, all[20..]);
    assert_eq!(read(&*broker, Log::Parked, all[49].offset + 1).await, [], "past the end there is nothing");
}

pub(crate) async fn a_read_ends_where_the_log_ended_when_it_began<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    append(&*broker, Log::Dead, 0..10).await;
    let mut reading = broker.read(Log::Dead, 0);
    let first = eventually("a record comes", reading.next()).await.expect("ten").expect("it can be read");
    append(&*broker, Log::Dead, 10..20).await;
    let rest = eventually("the log ends", reading.collect::<Vec<_>>()).await;
    let rest: Vec<Record> = rest.into_iter().collect::<Result<_, _>>().expect("it can be read");
    assert_eq!((first.message.id.as_str(), rest.len()), ("0", 9));
    assert_eq!(read(&*broker, Log::Dead, 0).await.len(), 20, "what came later is there for the next");
}

pub(crate) async fn from_the_end_of_a_log_all_is_read_that_comes_later_and_nothing_else<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let end = async || eventually("it has an end", broker.end(Log::Parked)).await.expect("it can be read");
    let of_nothing = end().await;
    append(&*broker, Log::Parked, 0..3).await;
    let of_three = end().await;
    append(&*broker, Log::Parked, 3..5).await;
    assert_eq!(ids(&read(&*broker, Log::Parked, of_nothing).await), ["0", "1", "2", "3", "4"]);
    assert_eq!(ids(&read(&*broker, Log::Parked, of_three).await), ["3", "4"]);
    assert_eq!(read(&*broker, Log::Parked, end().await).await, []);
}

pub(crate) async fn each_log_says_how_many_bytes_it_keeps<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let (dead, parked) = (broker.max_log_bytes(Log::Dead), broker.max_log_bytes(Log::Parked));
    // Of a small disk, the embedded broker takes a third and a sixth.
    assert!((1..=10_000_000_000).contains(&dead) && (1..=5_000_000_000).contains(&parked), "{dead}, {parked}");
}

pub(crate) async fn the_end_of_a_log_is_found_while_the_log_grows<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    let (to, message) = (Target::Log(Log::Dead, "exhausted.acme".into()), message(7));
    for grown in 1..=3 {
        let appends = stream::iter(0..1_000).map(|_| broker.publish(&to, &message)).buffer_unordered(64);
        let (appended, end) = tokio::join!(appends.collect::<Vec<_>>(), broker.end(Log::Dead));
        assert!(appended.iter().all(Result::is_ok));
        let (records, end) = (read(&*broker, Log::Dead, 0).await, end.expect("it can be read"));
        let before = records.iter().filter(|record| record.offset < end).count();
        assert!((1_000 * (grown - 1)..=1_000 * grown).contains(&before), "{before}");
    }
}

async fn append(broker: &dyn Broker, log: Log, numbers: std::ops::Range<u32>) {
    for id in numbers {
        publish(broker, &Target::Log(log, "exhausted.acme".into()), &message(id)).await;
    }
}

fn ids(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.message.id.clone()).collect()
}

pub(crate) async fn removed_records_are_gone_or_the_broker_says_that_it_cannot<F: Fixture>() {
    let fixture = F::start().await;
    let broker = fixture.broker();
    append(&*broker, Log::Dead, 0..300).await;
    let all = read(&*broker, Log::Dead, 0).await;
    let removed: Vec<_> = all.iter().skip(10).step_by(2).map(|record| record.offset).collect();
    let can_remove = broker.remove_records(Log::Dead, &removed).await.expect("an answer");
    let expected: Vec<_> = all.into_iter().filter(|record| !can_remove || !removed.contains(&record.offset)).collect();
    assert_eq!(read(&*broker, Log::Dead, 0).await, expected);
    append(&*broker, Log::Dead, 300..301).await;
    let later = read(&*broker, Log::Dead, 0).await;
    assert_eq!(later.len(), expected.len() + 1, "what is appended later is there");
    assert_eq!(broker.overwrite_deleted().await.expect("an answer"), can_remove);
}
