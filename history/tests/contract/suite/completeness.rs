//! Where writing goes on, and what is missing.

use history::{Batch, Gap, GapCause};

use crate::{fixture::Fixture, records::*};

pub(crate) const BYTES: u64 = crate::fixture::MAX_BYTES;

fn of_process(process: &str, covers_until: u64, ends: bool) -> Batch {
    Batch { process: process.into(), covers_until, ends, ..Batch::default() }
}

pub(crate) async fn a_position_is_remembered(mut fixture: Box<dyn Fixture>) {
    assert_eq!(fixture.history().position().await.expect("an answer"), None);
    fixture.history().write(batch(vec![record(bare("e1", TODAY))]), Some(41), 0).await.expect("an answer");
    fixture.history().write(batch(Vec::new()), Some(42), 0).await.expect("an answer");
    fixture.reopen().await;
    assert_eq!(fixture.history().position().await.expect("an answer"), Some(42));
}

pub(crate) async fn a_process_that_is_silent_leaves_a_gap(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    history.write(of_process("p1", TODAY, false), None, 0).await.expect("an answer");
    history.write(of_process("p2", TODAY + 50, false), None, 0).await.expect("an answer");
    history.write(of_process("p1", TODAY - 9, false), None, 0).await.expect("an answer");
    let coverage = history.coverage(TODAY, TODAY + 100).await.expect("an answer");
    assert_eq!((coverage.covered_until, coverage.gaps), (Some(TODAY), vec![]));
    assert_eq!(history.close_silent(TODAY + 10, 20, "").await.expect("an answer"), 1);
    let coverage = history.coverage(TODAY, TODAY + 100).await.expect("an answer");
    let gap = Gap { from: TODAY, until: TODAY + 20, dropped: 0, cause: GapCause::UncleanEnd };
    assert_eq!((coverage.covered_until, coverage.gaps), (Some(TODAY + 50), vec![gap.clone()]));
    assert_eq!(history.coverage(TODAY + 21, TODAY + 100).await.expect("an answer").gaps, [], "another time");
    assert_eq!(history.coverage(0, TODAY).await.expect("an answer").gaps, [gap], "a time that touches it");
    assert_eq!(history.close_silent(u64::MAX, 20, "p2").await.expect("an answer"), 0, "one that lives");
}

pub(crate) async fn a_process_that_ended_leaves_none(fixture: Box<dyn Fixture>) {
    let history = fixture.history();
    history.write(of_process("p1", TODAY, false), None, 0).await.expect("an answer");
    history.write(of_process("p1", TODAY + 5, true), None, 0).await.expect("an answer");
    assert_eq!(history.close_silent(u64::MAX, 20, "").await.expect("an answer"), 0);
    assert_eq!(history.coverage(0, u64::MAX >> 1).await.expect("an answer"), history::Coverage::default());
    let dropped = Gap { from: TODAY, until: TODAY + 9, dropped: 12, cause: GapCause::Overflow };
    let told = Batch { gaps: vec![dropped.clone()], ..of_process("p1", TODAY + 10, true) };
    history.write(told.clone(), None, 0).await.expect("an answer");
    history.write(told, None, 0).await.expect("an answer");
    history.note_gap(Gap { cause: GapCause::Unreadable, ..dropped.clone() }).await.expect("an answer");
    let gaps = history.coverage(TODAY, TODAY).await.expect("an answer").gaps;
    assert_eq!(gaps.len(), 2, "each once: {gaps:?}");
    assert!(gaps.contains(&dropped));
}
