//! `standalone`, `producer`, `router`, `deliverer`, `control`: run until asked to end.

use service::Exit;

use super::setup::Setup;
use crate::process::{self, Roles};

pub(super) async fn run(setup: &Setup, roles: Roles) -> anyhow::Result<Exit> {
    let loaded = setup.load(&[])?;
    setup.log(&loaded.config, &loaded.deprecations)?;
    let shutdown = service::shutdown::on_signals()?;
    process::start(&loaded.config, roles, shutdown).await?.finish().await?;
    Ok(Exit::Done)
}
