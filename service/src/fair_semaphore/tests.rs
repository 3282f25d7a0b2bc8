use futures_util::{FutureExt as _, poll};
use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn an_owner_that_is_alone_may_hold_everything() {
    let semaphore = FairSemaphore::new(10);
    let held: Vec<_> = (0..10).map(|_| semaphore.acquire("a", 1).now_or_never().expect("it is free")).collect();
    assert!(semaphore.try_acquire("a", 1).is_none());
    drop(held);
    assert_eq!((semaphore.available(), semaphore.owners()), (10, 0));
}

#[tokio::test]
async fn a_newcomer_gets_the_next_permits_before_those_that_hold_more() {
    let semaphore = FairSemaphore::new(4);
    let mut held: Vec<_> = (0..4).map(|_| semaphore.try_acquire("a", 1).expect("it is free")).collect();
    let mut of_a = Box::pin(semaphore.acquire("a", 1));
    assert!(poll!(&mut of_a).is_pending());
    let mut of_b: Vec<_> = (0..3).map(|_| Box::pin(semaphore.acquire("b", 1))).collect();
    for wait in &mut of_b {
        assert!(poll!(wait).is_pending());
    }
    held.pop();
    let first = of_b.remove(0).now_or_never().expect("b holds fewer");
    held.pop();
    let second = of_b.remove(0).now_or_never().expect("b still holds fewer");
    assert_eq!((semaphore.held_by("a"), semaphore.held_by("b")), (2, 2));
    drop((first, second));
    assert!(of_b.remove(0).now_or_never().is_some());
    assert!(of_a.now_or_never().is_some());
}

#[tokio::test]
async fn equals_take_turns() {
    let semaphore = FairSemaphore::new(1);
    let held = semaphore.try_acquire("x", 1).expect("it is free");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waits: Vec<_> = ["a", "a", "b", "c", "b"]
        .map(|owner| {
            let (semaphore, order) = (semaphore.clone(), order.clone());
            Box::pin(async move {
                let _permit = semaphore.acquire(owner, 1).await;
                order.lock().unwrap().push(owner);
            })
        })
        .into();
    for wait in &mut waits {
        assert!(poll!(wait).is_pending());
    }
    drop(held);
    futures_util::future::join_all(waits).await;
    assert_eq!(*order.lock().unwrap(), ["a", "b", "c", "a", "b"]);
}

#[tokio::test]
async fn fewer_permits_come_into_force_as_those_that_are_held_come_back() {
    let semaphore = FairSemaphore::new(3);
    let mut held: Vec<_> = (0..3).map(|_| semaphore.try_acquire("a", 1).expect("it is free")).collect();
    semaphore.set_capacity(1);
    let mut waiting = Box::pin(semaphore.acquire("b", 1));
    for _ in 0..3 {
        assert!(poll!(&mut waiting).is_pending());
        assert_eq!((semaphore.available(), semaphore.held() as usize), (0, held.len()));
        held.pop();
    }
    let _held = waiting.now_or_never().expect("the only one");
    semaphore.set_capacity(2);
    assert!(semaphore.acquire("b", 1).now_or_never().is_some());
}

#[tokio::test]
async fn a_last_wait_of_an_owner_ends_after_those_that_come_later() {
    let semaphore = FairSemaphore::new(1);
    let held = semaphore.try_acquire("a", 1).expect("it is free");
    let mut last = Box::pin(semaphore.acquire_last("a", 1));
    let mut later = Box::pin(semaphore.acquire("a", 1));
    assert!(poll!(&mut last).is_pending() && poll!(&mut later).is_pending());
    drop(held);
    assert!(poll!(&mut last).is_pending());
    drop(later.now_or_never().expect("it comes first"));
    assert!(last.now_or_never().is_some());
}

#[tokio::test]
async fn an_owner_that_needs_many_permits_is_not_overtaken() {
    let semaphore = FairSemaphore::new(10);
    let held = [semaphore.acquire("a", 5).await, semaphore.acquire("a", 5).await];
    let mut large = Box::pin(semaphore.acquire("b", 100));
    let mut small = Box::pin(semaphore.acquire("a", 1));
    assert!(poll!(&mut large).is_pending() && poll!(&mut small).is_pending());
    let [first, second] = held;
    drop(first);
    assert!(poll!(&mut small).is_pending(), "it is the turn of b");
    drop(second);
    let all = large.now_or_never().expect("everything is free");
    assert_eq!(semaphore.held_by("b"), 10, "as many as there are");
    drop(all);
    assert!(small.now_or_never().is_some());
}

#[tokio::test]
async fn a_wait_that_is_given_up_takes_nothing_and_holds_up_nobody() {
    let semaphore = FairSemaphore::new(2);
    let held = semaphore.acquire("a", 1).await;
    let mut large = Box::pin(semaphore.acquire("b", 2));
    assert!(poll!(&mut large).is_pending());
    drop(large);
    assert!(semaphore.acquire("c", 1).now_or_never().is_some());
    let mut granted = Box::pin(semaphore.acquire("b", 2));
    assert!(poll!(&mut granted).is_pending());
    drop(held);
    drop(granted);
    assert_eq!((semaphore.available(), semaphore.owners()), (2, 0), "it was granted, and never taken");
}

proptest! {
    /// Permits are neither lost nor made, and nothing waits while what is first in line would fit.
    #[test]
    fn permits_are_neither_lost_nor_made(steps in proptest::collection::vec((0..4_usize, 1..6_u32, any::<bool>()), 1..200)) {
        const OWNERS: [&str; 4] = ["a", "b", "c", "d"];
        let semaphore = FairSemaphore::new(8);
        let (mut held, mut waits) = (VecDeque::new(), VecDeque::new());
        for (owner, permits, is_acquired) in steps {
            if is_acquired {
                let semaphore = semaphore.clone();
                waits.push_back(async move { semaphore.acquire(OWNERS[owner], permits).await }.boxed());
            } else if owner % 2 == 0 {
                held.pop_front();
            } else {
                waits.pop_back();
            }
            // A new wait may find that one before it was given up, and others have their permits then.
            for _ in 0..2 {
                let mut pending = VecDeque::new();
                while let Some(mut wait) = waits.pop_front() {
                    match (&mut wait).now_or_never() {
                        Some(permit) => held.push_back(permit),
                        None => pending.push_back(wait),
                    }
                }
                waits = pending;
            }
            let in_use: u32 = held.iter().map(|permit: &FairPermit| permit.permits).sum();
            prop_assert_eq!(semaphore.available() + in_use, 8);
            prop_assert!(waits.is_empty() || !held.is_empty());
        }
        drop((held, waits));
        prop_assert_eq!((semaphore.available(), semaphore.owners()), (8, 0));
    }
}

#[test]
fn merged_permits_are_returned_together() {
    let semaphore = FairSemaphore::new(10);
    let mut held = semaphore.try_acquire("a", 2).expect("it is free");
    held.merge(semaphore.try_acquire_if("a", 3, |held, available| (held, available) == (2, 8)).expect("it is free"));
    assert_eq!((semaphore.held_by("a"), semaphore.available()), (5, 5));
    assert!(semaphore.try_acquire_if("a", 1, |_, _| false).is_none());
    drop(held);
    assert_eq!((semaphore.available(), semaphore.owners()), (10, 0));
}
