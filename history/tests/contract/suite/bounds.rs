//! How much is kept, and for how long.

use history::{Filter, Record};

use crate::{fixture::Fixture, records::*};

/// Of this few bytes a tenant's part is soon used up.
pub(crate) const BYTES: u64 = 2_000_000;

pub(crate) async fn days_are_dropped_whole_and_their_late_records_are_only_counted(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    for days in 0..5 {
        write(&*history, vec![record(to(bare(&format!("e{days}"), TODAY - days * DAY), &["crm"]))]).await;
    }
    let (records, bodies) = (TODAY - 3 * DAY, TODAY - DAY);
    let dropped = history.maintain(TODAY, records, bodies).await.expect("an answer");
    assert_eq!((dropped.days, dropped.days_of_bodies), (1, 3));
    assert_eq!(events(&*history, acme(), 10).await, ["e0", "e1", "e2", "e3"]);
    let body = async |event: &str| history.event(ACME, event).await.expect("an answer").expect("an event").body;
    assert!(body("e1").await.is_some() && body("e2").await.is_none());
    let late =
        history.write(batch(vec![delivered("e4", TODAY - 4 * DAY, 1, "crm")]), None, records).await.expect("an answer");
    assert_eq!((late.too_old, late.records), (1, 0));
    assert_eq!(history.delivery(ACME, of(ACME, "e4", "crm")).await.expect("an answer"), None);
    assert_eq!(history.maintain(TODAY, records, bodies).await.expect("an answer"), history::Dropped::default());
    let oldest = history.kept().await.expect("an answer").oldest_day;
    assert_eq!(oldest, Some(schemas::time::day(TODAY - 3 * DAY)));
}

/// An event with a body of random letters, which compress to little less.
fn large(event: &str, at: u64, tenant: &str) -> Record {
    let mut state = at ^ event.len() as u64 ^ event.as_bytes().iter().map(|byte| u64::from(*byte)).sum::<u64>() << 20;
    let letters = (0..20_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 90)
    });
    let mut event = to(bare(event, at), &["crm"]);
    event.tenant = tenant.into();
    event.bodies[0] = letters.collect::<String>().into();
    record(event)
}

pub(crate) async fn the_oldest_day_makes_room(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    for nth in 0..150_u64 {
        write(&*history, vec![large(&format!("e{nth}"), TODAY - DAY * (nth / 50), ACME)]).await;
    }
    assert!(history.kept().await.expect("an answer").bytes > BYTES);
    let dropped = history.maintain(TODAY, 0, 0).await.expect("an answer");
    assert!(dropped.days > 0, "{dropped:?}");
    assert!(history.kept().await.expect("an answer").bytes <= BYTES || dropped.days == 2);
    assert!(events(&*history, acme(), 1_000).await.len() >= 50, "the last day stays");
}

pub(crate) async fn a_tenant_beyond_its_share_keeps_records_without_bodies_and_then_nothing(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    let mut other = to(bare("other", TODAY), &["crm"]);
    other.tenant = ZETA.into();
    write(&*history, vec![record(other)]).await;
    let mut over = 0;
    for nth in 0..60 {
        over += write(&*history, vec![large(&format!("e{nth}"), TODAY, ACME)]).await.over_share;
    }
    assert!(over > 0 && over < 60, "{over}");
    let last = history.event(ACME, "e59").await.expect("an answer").expect("its record is kept");
    assert_eq!((last.body, last.deliveries.len()), (None, 1));
    assert!(history.event(ACME, "e0").await.expect("an answer").expect("an event").body.is_some());
    for some in (0..4_000).collect::<Vec<_>>().chunks(500) {
        let many = some.iter().map(|nth| record(to(bare(&format!("m{nth}"), TODAY), &["crm"]))).collect();
        write(&*history, many).await;
    }
    assert_eq!(history.event(ACME, "m3999").await.expect("an answer"), None, "half of the room is used up");
    let mut other = to(bare("later", TODAY), &["crm"]);
    other.tenant = ZETA.into();
    write(&*history, vec![record(other)]).await;
    assert!(
        history.event(ZETA, "later").await.expect("an answer").expect("an event").body.is_some(),
        "others keep theirs"
    );
}

pub(crate) async fn a_tenant_may_keep_less(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    for days in 0..4 {
        let mut foreign = to(bare(&format!("e{days}"), TODAY - days * DAY), &["crm"]);
        let own = foreign.clone();
        foreign.tenant = ZETA.into();
        foreign.deliveries[0].id = of(ZETA, &format!("e{days}"), "crm");
        write(&*history, vec![record(own), record(foreign)]).await;
    }
    history.shorten(ACME, TODAY - 2 * DAY, TODAY - DAY + 1).await.expect("an answer");
    assert_eq!(events(&*history, acme(), 10).await, ["e0", "e1", "e2"]);
    let body = async |tenant: &str, event: &str| {
        history.event(tenant, event).await.expect("an answer").expect("an event").body
    };
    assert!(body(ACME, "e0").await.is_some() && body(ACME, "e1").await.is_none());
    assert!(body(ZETA, "e1").await.is_some() && body(ZETA, "e3").await.is_some(), "others keep theirs");
    let zeta = Filter { tenant: Some(ZETA.into()), ..Filter::default() };
    assert_eq!(events(&*history, zeta, 10).await.len(), 4);
}
