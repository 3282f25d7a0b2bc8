//! The window of publishes, which tenants share fairly, and what a tenant's further events and deliveries do while it
//! has many under way.

use std::{future::Future, pin::pin, sync::Arc};

use broker::{Lane, PublishRoom, PublishWindow};
use service::{
    FairPermit, FairSemaphore,
    watchdog::{self, TURN},
};
use tokio::time::timeout;

/// Largest number of unconfirmed publishes. A deliverer in the same process publishes over the same channel.
const PUBLISHES: u32 = PublishWindow::LARGEST / 5 * 4;
/// Number of an event's deliveries that take the fast lane, unless its tenant has more than its share under way.
const FAST_DELIVERIES: usize = 50;
/// Smallest number of endpoints that may get an event that is put aside: for fewer, it would hardly save a publish.
const LARGE_FAN_OUT: usize = 10;
/// Number of events that were put aside and have their turn at once.
const TURNS: u32 = 2;
/// Number of events that were put aside and are under way at once: the smallest ones fill the window as well.
pub(crate) const ASIDE_EVENTS: u16 = (PUBLISHES as usize / LARGE_FAN_OUT) as u16;

pub(crate) struct Window {
    publishes: PublishWindow,
    /// The endpoints of events in hand, whether their deliveries are published or not: how many deliveries there are is
    /// not known before they are made. It has room for any number.
    under_way: Arc<FairSemaphore>,
    /// The events that were put aside and have their turn.
    turns: Arc<FairSemaphore>,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            publishes: PublishWindow::new(PUBLISHES),
            under_way: FairSemaphore::new(u32::MAX),
            turns: FairSemaphore::new(TURNS),
        }
    }

    /// Counts an event's endpoints as under way until the permit is dropped.
    pub(crate) fn begin(&self, tenant: &str, endpoints: usize) -> Option<FairPermit> {
        self.under_way.try_acquire(tenant, u32::try_from(endpoints).unwrap_or(u32::MAX))
    }

    /// Waits for the turn of an event that was put aside. It ends when all its deliveries have room: those of the next one
    /// are made by then, and not those of all at once.
    pub(crate) async fn turn(&self, tenant: &str) -> FairPermit {
        renewing(self.turns.acquire(tenant, 1)).await
    }

    /// True for an event that is better put aside: its tenant has as many endpoints under way as there is room for
    /// publishes, and it may add many.
    pub(crate) fn is_event_to_wait(&self, tenant: &str, most_endpoints: impl FnOnce() -> usize) -> bool {
        self.under_way.held_by(tenant) >= PUBLISHES && most_endpoints() >= LARGE_FAN_OUT
    }

    /// Number of the next event's deliveries that take the fast lane: the first ones, as far as the tenant has less
    /// than its share of the window under way.
    pub(crate) fn fast_deliveries(&self, tenant: &str) -> usize {
        let under_way = self.under_way.held_by(tenant) as usize;
        if under_way == 0 {
            return FAST_DELIVERIES;
        }
        let share = PUBLISHES as usize / self.under_way.owners().max(1);
        share.max(FAST_DELIVERIES).saturating_sub(under_way).min(FAST_DELIVERIES)
    }

    /// Waits for the room of one publish with a body of this many bytes. However long that takes, the event is not
    /// stuck: those that have the room are watched.
    pub(crate) async fn enter(&self, tenant: &str, lane: Lane, bytes: usize) -> PublishRoom {
        match lane {
            Lane::Fast => renewing(self.publishes.enter(tenant, bytes)).await,
            Lane::Slow => renewing(self.publishes.enter_giving_way(tenant, bytes)).await,
        }
    }
}

/// Waits for others to make room, and tells the event's watchdog meanwhile that it is not stuck.
pub(crate) async fn renewing<T>(room: impl Future<Output = T>) -> T {
    let mut room = pin!(room);
    loop {
        match timeout(TURN, &mut room).await {
            Ok(room) => return room,
            Err(_) => watchdog::renew(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use service::Watchdog;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn take(window: &Window, tenant: &str, endpoints: u32) -> FairPermit {
        window.begin(tenant, endpoints as usize).expect("room for any number")
    }

    #[test]
    fn the_first_deliveries_of_an_event_are_fast_while_its_tenant_has_less_than_its_share() {
        let window = Window::new();
        assert_eq!(window.fast_deliveries("acme"), 50);
        let _held = take(&window, "acme", 700);
        assert_eq!(window.fast_deliveries("acme"), 50, "a tenant that is alone may have the whole window");
        let _more = take(&window, "acme", 90);
        assert_eq!(window.fast_deliveries("acme"), 10);
        let _other = take(&window, "beta", 1);
        assert_eq!((window.fast_deliveries("acme"), window.fast_deliveries("beta")), (0, 50));
    }

    #[test]
    fn a_few_deliveries_are_fast_however_many_tenants_there_are() {
        let window = Window::new();
        let _held: Vec<_> = (0..100).map(|tenant| take(&window, &tenant.to_string(), 1)).collect();
        assert_eq!(window.fast_deliveries("0"), 49);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_waits_for_room_is_not_stuck() {
        let (window, watchdog) = (Window::new(), Watchdog::new(Instant::now()));
        let held = window.enter("acme", Lane::Fast, usize::MAX).await;
        let mut waiting = pin!(watchdog.clone().hold(window.enter("acme", Lane::Slow, 1)));
        for _ in 0..1_000 {
            assert!(poll!(&mut waiting).is_pending());
            watchdog.turn(Instant::now(), true);
            assert_eq!(watchdog.alive(Instant::now()), Ok(()));
            sleep(TURN).await;
        }
        drop(held);
        assert!(poll!(&mut waiting).is_ready());
    }

    #[test]
    fn only_a_large_fan_out_of_a_tenant_with_a_whole_window_under_way_waits() {
        let window = Window::new();
        let held = take(&window, "acme", PUBLISHES);
        assert!(window.is_event_to_wait("acme", || 10) && !window.is_event_to_wait("acme", || 9));
        assert!(!window.is_event_to_wait("beta", || 1_000));
        drop(held);
        let _held = take(&window, "acme", PUBLISHES - 1);
        assert!(!window.is_event_to_wait("acme", || 1_000));
    }
}
