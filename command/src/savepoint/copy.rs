//! `tidemill savepoint copy`.

use std::path::Path;

use tidemill_state::{Sharing, take_savepoint};

use super::find::{open, place};
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report::size;

pub fn run(source: &Path, target: &Path, store: Option<&Path>) -> Result<String, Failure> {
    let savepoint = open(store, source)?;
    let to = place(store, target)?;
    let shown = spinner("copying and comparing");
    take_savepoint(&savepoint.store, &savepoint.manifest, &to, Sharing::Copies)?;
    drop(shown);
    let size = size(savepoint.manifest.bytes());
    Ok(format!("copied \"{}\" to \"{}\" ({size})\n", savepoint.place.display(), to.display()))
}
