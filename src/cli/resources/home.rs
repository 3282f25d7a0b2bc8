//! Whose a thing is, and its path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cli::{client::ApiArgs, setup::Output};

/// What need not be escaped (RFC 3986, 2.3) is not.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a collection is.
pub(crate) trait Home {
    /// The path of a collection there.
    fn path(&self, collection: &str) -> String;
}

/// The whole installation.
#[derive(Debug, clap::Args)]
pub(crate) struct Everyone {}

/// A tenant.
#[derive(Debug, clap::Args)]
pub(crate) struct OfTenant {
    /// Whose.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,
}

/// What every verb takes.
#[derive(Debug, clap::Args)]
pub(crate) struct At<H: clap::Args> {
    #[command(flatten)]
    pub(crate) home: H,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// One thing.
#[derive(Debug, clap::Args)]
pub(crate) struct One<H: clap::Args> {
    /// Its id.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) at: At<H>,
}

impl Home for Everyone {
    fn path(&self, collection: &str) -> String {
        format!("/v1/{collection}")
    }
}

impl Home for OfTenant {
    fn path(&self, collection: &str) -> String {
        format!("/v1/tenants/{}/{collection}", segment(&self.tenant))
    }
}

/// An id as a part of a path.
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        assert_eq!(segment("a-b_c.7~"), "a-b_c.7~");
        assert_eq!(segment("../x?y#z %"), "..%2Fx%3Fy%23z%20%25");
    }
}
