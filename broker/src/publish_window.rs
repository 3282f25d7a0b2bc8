//! The window of a role's publishes, which tenants share fairly.
//!
//! The backend's own window is first come, first served: a thousand events in one call would stand in front of another
//! tenant's single one. So a role waits here, where the tenant with the fewest publishes under way comes next.

use std::sync::Arc;

use service::{FairPermit, FairSemaphore};

/// A publish counts once more in a window for each of these bytes, because lapin copies the body into frames: those that
/// are waited for have some 64 MB at most.
const BYTES_PER_PERMIT: usize = 64_000;

/// Number of permits of a window that a publish takes.
pub(crate) fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_PER_PERMIT).unwrap_or(u32::MAX).saturating_add(1)
}

pub struct PublishWindow(Arc<FairSemaphore>);

impl PublishWindow {
    /// Largest number of permits, which is that of a channel of RabbitMQ: enough to fill any line, few enough to repeat
    /// after a cut. A role that shares its channel with another takes fewer, so that the other one has room as well.
    pub const LARGEST: u32 = 1_000;

    pub fn new(permits: u32) -> Self {
        Self(FairSemaphore::new(permits.min(Self::LARGEST)))
    }

    /// Waits for the room of one publish with a body of this many bytes.
    pub async fn enter(&self, tenant: &str, bytes: usize) -> FairPermit {
        self.0.acquire(tenant, permits(bytes)).await
    }

    pub fn semaphore(&self) -> &Arc<FairSemaphore> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_body_takes_the_room_of_many_and_the_largest_at_most_all_of_it() {
        let window = PublishWindow::new(100);
        let held = window.enter("acme", 640_000).await;
        assert_eq!(window.semaphore().held_by("acme"), 11);
        drop(held);
        let _held = window.enter("acme", usize::MAX).await;
        assert_eq!(window.semaphore().available(), 0);
    }
}
