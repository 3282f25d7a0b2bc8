//! The window of a role's publishes, which tenants share fairly.
//!
//! The backend's own window is first come, first served: a thousand events in one call would stand in front of another
//! tenant's single one. So a role waits here, where the tenant with the fewest publishes under way comes next.

use std::sync::Arc;

use service::{FairPermit, FairSemaphore};

use crate::latest_tenant::LatestTenant;

/// A publish counts once more in a window for each of these bytes, because lapin copies the body into frames: those that
/// are waited for have some 64 MB at most.
const BYTES_PER_PERMIT: usize = 64_000;

/// Number of permits of a window that a publish takes.
pub(crate) fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_PER_PERMIT).unwrap_or(u32::MAX).saturating_add(1)
}

/// Largest number of publishes of a window that give way, while several tenants publish. What a broker is sent waits in
/// its queue of commands in front of the others' next message.
const GIVING_WAY: u32 = 32;

pub struct PublishWindow {
    all: Arc<FairSemaphore>,
    giving_way: Arc<FairSemaphore>,
    latest: LatestTenant,
}

/// The room of one publish, until it is dropped.
pub struct PublishRoom {
    _permit: FairPermit,
    _giving_way: Option<FairPermit>,
}

impl PublishWindow {
    /// Largest number of permits, which is that of a channel of RabbitMQ: enough to fill any line, few enough to repeat
    /// after a cut. A role that shares its channel with another takes fewer, so that the other one has room as well.
    pub const LARGEST: u32 = 1_000;

    pub fn new(permits: u32) -> Self {
        let [all, giving_way] = [permits.min(Self::LARGEST), GIVING_WAY].map(FairSemaphore::new);
        Self { all, giving_way, latest: LatestTenant::new() }
    }

    /// Waits for the room of one publish with a body of this many bytes.
    pub async fn enter(&self, tenant: &str, bytes: usize) -> PublishRoom {
        self.latest.is_alone(tenant);
        PublishRoom { _permit: self.all.acquire(tenant, permits(bytes)).await, _giving_way: None }
    }

    /// Waits for the room of a publish that others shall not wait for: few of these are under way at once, unless the
    /// tenant has been the only one for a while.
    pub async fn enter_giving_way(&self, tenant: &str, bytes: usize) -> PublishRoom {
        let giving_way = match self.latest.is_alone(tenant) {
            true => None,
            false => Some(self.giving_way.acquire(tenant, 1).await),
        };
        PublishRoom { _permit: self.all.acquire(tenant, permits(bytes)).await, _giving_way: giving_way }
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
        let held: Vec<_> = (0..GIVING_WAY).filter_map(|_| begun()).collect();
        assert_eq!(held.len(), GIVING_WAY as usize);
        assert!(begun().is_none(), "more than may be under way");
        assert!(window.enter("beta", 0).now_or_never().is_some(), "there is room for others");
        assert!(begun().is_none());
        tokio::time::advance(ALONE_AFTER).await;
        assert!(begun().is_some(), "nobody else has published");
        drop(held);
    }
}
