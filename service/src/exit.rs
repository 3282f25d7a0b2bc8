//! The exit codes of the process, and the errors that cause them.

use std::process::{ExitCode, Termination};

use crate::config::{ConfigError, ConfigErrors};
use crate::listen::ListenError;

/// An exit code. Those above 1 are from `sysexits.h`, so that a supervisor knows whether a restart can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exit {
    /// Success, also after SIGTERM or SIGINT.
    #[error("done")]
    Done = 0,
    /// Failure; a restart may help.
    #[error("failed")]
    Failed = 1,
    /// The command line was not understood (`EX_USAGE`).
    #[error("wrong usage")]
    Usage = 64,
    /// A needed service did not answer a one-shot command (`EX_UNAVAILABLE`). Roles wait instead.
    #[error("a needed service did not answer")]
    Unavailable = 69,
    /// A part of the process is stuck (`EX_SOFTWARE`); a restart helps.
    #[error("a part of the process is stuck")]
    Stuck = 70,
    /// Another process listens on the port (`EX_TEMPFAIL`).
    #[error("the port is taken")]
    PortTaken = 75,
    /// Configuration, topology or schema are not as required (`EX_CONFIG`): a restart does not help.
    #[error("the configuration cannot be used")]
    Config = 78,
}

impl Exit {
    /// The exit code for `error`: the outermost `Exit` that was attached with `.context(Exit::…)`, otherwise that of
    /// the first of our own errors in the chain, otherwise [`Exit::Failed`].
    pub fn of(error: &anyhow::Error) -> Self {
        let attached = error.downcast_ref::<Exit>().copied();
        attached.or_else(|| error.chain().find_map(known)).unwrap_or(Exit::Failed)
    }

    pub fn code(self) -> u8 {
        self as u8
    }
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if cause.is::<ConfigError>() || cause.is::<ConfigErrors>() {
        return Some(Exit::Config);
    }
    cause.downcast_ref::<ListenError>().map(|error| match error {
        ListenError::PortTaken { .. } => Exit::PortTaken,
        ListenError::Unusable { .. } => Exit::Config,
    })
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_bad_configuration_exits_78_however_deep_it_is() {
        let error = Err::<(), _>(ConfigError::new("http.listen", "is required")).context("starting").unwrap_err();
        assert_eq!(Exit::of(&error).code(), 78);
    }

    #[test]
    fn a_taken_port_exits_75_and_an_address_that_cannot_be_used_78() {
        let (key, address) = (String::new(), String::new());
        let taken = ListenError::PortTaken { key: key.clone(), address: address.clone() };
        assert_eq!(Exit::of(&taken.into()).code(), 75);
        let source = std::io::Error::other("no such address");
        assert_eq!(Exit::of(&ListenError::Unusable { key, address, source }.into()).code(), 78);
    }

    #[test]
    fn an_attached_exit_decides_for_errors_of_others() {
        let error = Err::<(), _>(std::io::Error::other("refused"))
            .context(Exit::Unavailable)
            .context("listing endpoints")
            .unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Unavailable);
        assert_eq!(format!("{error:#}"), "listing endpoints: a needed service did not answer: refused");
    }

    #[test]
    fn an_unknown_error_exits_1() {
        assert_eq!(Exit::of(&anyhow::anyhow!("something")), Exit::Failed);
    }
}
