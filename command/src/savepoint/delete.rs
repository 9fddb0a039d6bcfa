//! `tidemill savepoint delete`.

use std::path::Path;

use tidemill_state::SavepointName;

use super::find::open;
use crate::failure::Failure;
use crate::report::size;

pub fn run(name: &SavepointName, yes: bool, store: &Path) -> Result<String, Failure> {
    let savepoint = open(Some(store), name.to_string().as_ref())?;
    let (epoch, size) = (savepoint.manifest.epoch, size(savepoint.manifest.bytes()));
    if !yes {
        return Ok(format!("would delete savepoint {name} of epoch {epoch} ({size}); to delete it, add --yes\n"));
    }
    savepoint.delete()?;
    Ok(format!("deleted savepoint {name} of epoch {epoch} ({size})\n"))
}
