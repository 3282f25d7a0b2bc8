//! The direct hand-off: a delivery goes from the router to the deliverer of the same process without a hop over the broker.

use bytes::Bytes;
use schemas::Delivery;
use tokio::task::JoinHandle;

use crate::{SessionEnd, Settlement};

/// What a deliverer offers to the router of its process.
pub trait DirectDelivery: Send + Sync {
    /// True when a first attempt of the delivery could begin soon.
    fn is_prompt(&self, delivery: &Delivery, body: &Bytes) -> bool;

    /// Takes a first attempt over if it can begin soon. None: the delivery goes to its lane.
    ///
    /// The task ends once the delivery has ended, or waits in the broker, confirmed: `Done`. `Again` means that neither is
    /// so, and that the event is given back, as when the task panics. `session` is that of the event's message: once it is
    /// over the event comes again, and so nothing more is published of it. The task goes on when the handle is dropped, so
    /// that no request is abandoned.
    fn offer(&self, delivery: &Delivery, body: &Bytes, session: &SessionEnd) -> Option<JoinHandle<Settlement>>;
}
