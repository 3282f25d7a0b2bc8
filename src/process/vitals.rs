//! Whether the process can work at all: its broker and its snapshot, as probes and as metrics.

use broker::Link;
use service::ops::Ops;

use super::roles::Shared;

service::metrics! {
    /// What every process says of its broker and its snapshot.
    pub(crate) struct Vitals {
        /// 1 while messages can be consumed.
        connected: IntGauge("broker_connected"),
        /// 1 while the broker takes no publishes.
        blocked: IntGauge("broker_blocked"),
        /// How often the broker went away.
        losses: IntCounter("broker_losses_total"),
        /// The revision of the snapshot in force.
        revision: IntGauge("config_revision"),
    }
}

/// Registers the probes, and keeps the metrics up to date for as long as the process runs.
pub(super) fn watch(ops: &Ops, shared: &Shared) -> anyhow::Result<()> {
    let (link, store) = (shared.broker.link(), shared.store.clone());
    ops.ready("broker", move || match &*link.borrow() {
        Link::Ready => Ok(()),
        Link::Away(why) => Err(why.clone()),
        Link::Blocked(why) => Err(format!("blocked: {why}")),
    });
    ops.ready("store", move || match store.snapshot() {
        Some(_) => Ok(()),
        None => Err("there is no snapshot yet".to_owned()),
    });
    let vitals = Vitals::register(&shared.registry)?;
    let (mut link, mut revision) = (shared.broker.link(), shared.store.revision());
    let shutdown = shared.shutdown.clone();
    tokio::spawn(async move {
        let mut said = None;
        // A broker that goes away while the process ends was closed by it.
        while !shutdown.is_requested() {
            let now = link.borrow_and_update().clone();
            // Each try to reach a broker that is away ends in the same words.
            if said.as_ref() != Some(&now) {
                vitals.note(&now);
                said = Some(now);
            }
            vitals.revision.set(i64::try_from(*revision.borrow_and_update()).unwrap_or(i64::MAX));
            tokio::select! {
                Ok(()) = link.changed() => {}
                Ok(()) = revision.changed() => {}
                else => return,
            }
        }
    });
    Ok(())
}

impl Vitals {
    fn note(&self, link: &Link) {
        let was_connected = self.connected.get() == 1;
        self.connected.set(i64::from(!matches!(link, Link::Away(_))));
        self.blocked.set(i64::from(matches!(link, Link::Blocked(_))));
        match link {
            Link::Away(error) if was_connected => {
                self.losses.inc();
                tracing::warn!(error, "broker.lost");
            }
            Link::Away(error) if error == Link::CONNECTING => {}
            Link::Away(error) => tracing::warn!(error, "broker.away"),
            Link::Blocked(error) => tracing::warn!(error, "broker.blocked"),
            Link::Ready => tracing::info!("broker.ready"),
        }
    }
}
