//! The confirmation of what cannot be undone: by an answer at a terminal, and by `--yes` where there is none.

use std::io::{BufRead as _, IsTerminal as _, stderr, stdin};

use service::Exit;

/// The flag of every command that asks.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmArgs {
    /// Do it without asking. Required where there is no terminal to ask at.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Consent {
    Given,
    ToBeAsked,
    Impossible,
}

impl ConfirmArgs {
    /// Returns once it is confirmed that this may happen, in a sentence such as `tenant acme will be deleted`. Fails
    /// otherwise: with [`Exit::Usage`] where nobody can be asked.
    ///
    /// Call it before anything is changed, and before signals are handled: Ctrl-C then ends the question.
    pub(super) fn confirm(&self, sentence: &str) -> anyhow::Result<()> {
        match consent(self.yes, stdin().is_terminal() && stderr().is_terminal()) {
            Consent::Given => Ok(()),
            Consent::ToBeAsked => {
                anstream::eprint!("{sentence}.\nGo on? [y/N] ");
                let mut answer = String::new();
                stdin().lock().read_line(&mut answer)?;
                anyhow::ensure!(is_yes(&answer), "nothing was done");
                Ok(())
            }
            Consent::Impossible => {
                let error = anyhow::anyhow!("{sentence}: give --yes to do it, as there is no terminal to ask at");
                Err(error.context(Exit::Usage))
            }
        }
    }
}

fn consent(yes: bool, is_terminal: bool) -> Consent {
    match (yes, is_terminal) {
        (true, _) => Consent::Given,
        (false, true) => Consent::ToBeAsked,
        (false, false) => Consent::Impossible,
    }
}

/// True for a yes. The end of input and an empty line are a no.
fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_a_yes_and_only_a_terminal_is_asked() {
        assert_eq!(consent(true, true), Consent::Given);
        assert_eq!(consent(true, false), Consent::Given);
        assert_eq!(consent(false, true), Consent::ToBeAsked);
        assert_eq!(consent(false, false), Consent::Impossible);
    }

    #[test]
    fn an_answer_is_a_yes_only_if_it_says_so() {
        for answer in ["y\n", "Y\r\n", " yes \n", "YES"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n\n", "no\n", "yep\n", "y n\n"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
