//! The kinds of channels that publishes take.

/// Which channel a publish takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the public exchange.
    Ingest,
    /// To a lane or a delay level.
    Lane,
    /// To a log. These exchanges have no alternate exchange, so a message can be returned, and lapin 4 hands a returned
    /// message to whichever confirm resolves next, in no order within a batch. So there is never more than one
    /// unconfirmed on such a channel. On the others nothing is returned while the topology stands.
    Log,
}
