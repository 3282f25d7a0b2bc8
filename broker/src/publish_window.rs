//! The window of a role's publishes, which tenants share fairly.
//!
//! The backend's own window is first come, first served: a thousand events in one call would stand in front of another
//! tenant's single one. So a role waits here, where the tenant with the fewest publishes under way comes next.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use service::{FairPermit, FairSemaphore};
use tokio::time::Instant;

use crate::{large_bodies::is_large, latest_tenant::LatestTenant, pace::Pace};

/// A publish counts once more in a window for each of these bytes, because lapin copies the body into frames: those that
/// are waited for have some 64 MB at most.
const BYTES_PER_PERMIT: usize = 64_000;

/// Number of permits of a window that a publish takes.
pub(crate) fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_PER_PERMIT).unwrap_or(u32::MAX).saturating_add(1)
}

pub struct PublishWindow {
    all: Arc<FairSemaphore>,
    /// The half that large bodies may have, which wait for one another on their way to the broker.
    large: Arc<FairSemaphore>,
    giving_way: Arc<GivingWay>,
    latest: LatestTenant,
}

/// The publishes that give way while several tenants publish. What a broker was sent stands in front of the others' next
/// message, so there are as few as keep it busy.
struct GivingWay {
    permits: Arc<FairSemaphore>,
    pace: Mutex<Pace>,
}

/// The room of one publish, until it is dropped.
pub struct PublishRoom {
    _permit: FairPermit,
    _large: Option<FairPermit>,
    giving_way: Option<GivesWay>,
}

/// A publish that gives way.
struct GivesWay {
    all: Arc<GivingWay>,
    _permit: FairPermit,
    /// True if no other one was under way when it began.
    was_only: bool,
    began: Instant,
}

impl PublishWindow {
    /// Largest number of permits, which is that of a channel of RabbitMQ: enough to fill any line, few enough to repeat
    /// after a cut. A role that shares its channel with another takes fewer, so that the other one has room as well.
    pub const LARGEST: u32 = 1_000;

    pub fn new(permits: u32) -> Self {
        let permits = permits.min(Self::LARGEST);
        let pace = Pace::new(permits);
        let giving_way = GivingWay { permits: FairSemaphore::new(pace.limit()), pace: Mutex::new(pace) };
        let [all, large] = [permits, permits / 2].map(FairSemaphore::new);
        Self { all, large, giving_way: Arc::new(giving_way), latest: LatestTenant::new() }
    }

    /// Waits for the room of one publish with a body of this many bytes.
    pub async fn enter(&self, tenant: &str, bytes: usize) -> PublishRoom {
        self.latest.note(tenant);
        self.room(tenant, bytes, false).await
    }

    /// Waits for the room of a publish that others shall not wait for: few of these are under way at once, unless no other
    /// tenant has published for a while. Large bodies are bounded by [`LargeBodies`](crate::LargeBodies), and the times of
    /// their confirms say nothing of those of others.
    pub async fn enter_giving_way(&self, tenant: &str, bytes: usize) -> PublishRoom {
        let is_alone = self.latest.note(tenant);
        self.room(tenant, bytes, !is_alone && !is_large(bytes)).await
    }

    async fn room(&self, tenant: &str, bytes: usize, gives_way: bool) -> PublishRoom {
        let giving_way = if gives_way { Some(self.giving_way.permits.acquire(tenant, 1).await) } else { None };
        let large = if is_large(bytes) { Some(self.large.acquire(tenant, permits(bytes)).await) } else { None };
        let permit = self.all.acquire(tenant, permits(bytes)).await;
        let giving_way = giving_way.map(|permit| GivesWay {
            was_only: self.giving_way.permits.held() == 1,
            all: self.giving_way.clone(),
            _permit: permit,
            began: Instant::now(),
        });
        PublishRoom { _permit: permit, _large: large, giving_way }
    }
}

impl GivingWay {
    fn confirmed(&self, took: Duration, was_only: bool) {
        let is_used = self.permits.held() * 2 >= self.permits.capacity();
        let limit = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.confirmed(took, was_only, is_used);
            pace.limit()
        };
        if limit != self.permits.capacity() {
            self.permits.set_capacity(limit);
        }
    }
}

impl PublishRoom {
    /// Notes that the broker has confirmed the publish. One that failed or was given up says nothing of the broker.
    pub fn confirmed(&self) {
        if let Some(GivesWay { all, was_only, began, .. }) = &self.giving_way {
            all.confirmed(began.elapsed(), *was_only);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::latest_tenant::ALONE_AFTER;

    #[tokio::test]
    async fn a_large_body_takes_the_room_of_many_and_the_largest_at_most_all_of_it() {
        let window = PublishWindow::new(100);
        let held = window.enter("acme", 640_000).await;
        assert_eq!(window.all.held_by("acme"), 11);
        drop(held);
        let _held = window.enter("acme", usize::MAX).await;
        assert_eq!(window.all.available(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn few_publishes_give_way_at_once_unless_their_tenant_is_alone() {
        let window = PublishWindow::new(100);
        let begun = || window.enter_giving_way("acme", 0).now_or_never();
        drop(window.enter("beta", 0).await);
        let few = window.giving_way.permits.capacity();
        let held: Vec<_> = (0..few).filter_map(|_| begun()).collect();
        assert_eq!(held.len(), few as usize);
        assert!(begun().is_none(), "more than may be under way");
        assert!(window.enter("beta", 0).now_or_never().is_some(), "there is room for others");
        assert!(begun().is_none());
        tokio::time::advance(ALONE_AFTER).await;
        assert!(begun().is_some(), "nobody else has published");
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn more_publishes_give_way_at_once_to_a_distant_broker() {
        let window = PublishWindow::new(1_000);
        drop(window.enter("beta", 0).await);
        let few = window.giving_way.permits.capacity();
        for _ in 0..100 {
            let held: Vec<_> = std::iter::from_fn(|| window.enter_giving_way("acme", 0).now_or_never()).collect();
            tokio::time::advance(Duration::from_millis(20)).await;
            held.iter().for_each(PublishRoom::confirmed);
        }
        assert!(window.giving_way.permits.capacity() > 2 * few);
        drop(window.enter_giving_way("acme", 0).await);
        assert!(window.giving_way.permits.capacity() > 2 * few, "what is given up says nothing");
    }

    #[tokio::test]
    async fn large_bodies_take_half_of_the_room() {
        let window = PublishWindow::new(100);
        let begun = |bytes| window.enter("acme", bytes).now_or_never();
        let held: Vec<_> = std::iter::from_fn(|| begun(640_000)).collect();
        assert_eq!(held.len(), 4);
        assert!(begun(16_000).is_some(), "there is room for small ones");
    }
}
