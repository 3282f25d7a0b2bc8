//! What an outcome says about its endpoint: one pure table (design, 4: the columns *breaker* and *rate*).

use schemas::OutcomeClass;

use crate::Outcome;

/// What an outcome does to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It closes.
    Well,
    /// It counts: so many in a row open it.
    Ill,
    /// Somebody answered, who wanted something else: no word about their health.
    Neither,
}

/// What an outcome does to how much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// There may be room for more.
    Bears,
    /// It is too much: half of it.
    Breaks,
    /// Nothing.
    Neither,
}

/// An attempt that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) health: Health,
    pub(crate) load: Load,
    /// How long it took, in ms, if that says something of the endpoint.
    pub(crate) took: Option<u64>,
    /// For how long it wants to be left alone, in ms.
    pub(crate) hold: Option<u64>,
    pub(crate) was_probe: bool,
}

impl Ended {
    /// With this outcome, at `now` (unix ms).
    pub(crate) fn of(outcome: &Outcome, now: u64) -> Self {
        let (health, load) = effect(outcome.class, outcome.status);
        let is_measured = outcome.status.is_some() || outcome.class == OutcomeClass::Timeout;
        // Others may be told to wait by how busy it is; what it says of one delivery is that delivery's.
        let is_busy = matches!(outcome.status, Some(429 | 503));
        Self {
            health,
            load,
            took: is_measured.then_some(outcome.duration_ms),
            hold: outcome.retry_after.filter(|_| is_busy).map(|asked| asked.delay(now)),
            was_probe: false,
        }
    }
}

/// The statuses of a server, or of a proxy before it, that has too much to do.
const OVERLOADED: [u16; 3] = [502, 503, 504];

/// What an outcome says.
fn effect(class: OutcomeClass, status: Option<u16>) -> (Health, Load) {
    match class {
        OutcomeClass::Success => (Health::Well, Load::Bears),
        OutcomeClass::TooMany => (Health::Neither, Load::Breaks),
        OutcomeClass::ServerError if status.is_some_and(|status| OVERLOADED.contains(&status)) => {
            (Health::Ill, Load::Breaks)
        }
        OutcomeClass::Timeout => (Health::Ill, Load::Breaks),
        OutcomeClass::ServerError
        | OutcomeClass::Connect
        | OutcomeClass::Dns
        | OutcomeClass::Tls
        | OutcomeClass::Malformed => (Health::Ill, Load::Neither),
        OutcomeClass::Gone | OutcomeClass::ClientError | OutcomeClass::Redirect | OutcomeClass::BlockedIp => {
            (Health::Neither, Load::Neither)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_says_what_the_design_has_for_it() {
        use Health::{Ill, Neither as NoWord, Well};
        use Load::{Bears, Breaks, Neither};
        for class in OutcomeClass::ALL {
            let expected = match class.as_str() {
                "2xx" => (Well, Bears),
                "429" => (NoWord, Breaks),
                "timeout" => (Ill, Breaks),
                "5xx" | "connect" | "dns" | "tls" | "malformed" => (Ill, Neither),
                _ => (NoWord, Neither),
            };
            assert_eq!(effect(class, None), expected, "{class}");
        }
        for (status, load) in [(500, Neither), (501, Neither), (502, Breaks), (503, Breaks), (504, Breaks)] {
            assert_eq!(effect(OutcomeClass::ServerError, Some(status)), (Ill, load), "{status}");
        }
    }
}
