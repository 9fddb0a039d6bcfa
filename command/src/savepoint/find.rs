//! Which savepoint a person means.

use std::path::{Path, PathBuf};

use tidemill_state::{ErrorKind, Savepoint, savepoint_place};

use crate::failure::Failure;

/// Opens the savepoint that a person calls `at`.
pub fn open(store: Option<&Path>, at: &Path) -> Result<Savepoint, Failure> {
    let place = place(store, at)?;
    Savepoint::open(&place).map_err(|error| {
        let store = store.map_or_else(|| "DIR".to_owned(), |store| store.display().to_string());
        Failure::of(&error, &format!("\nsee what is there with: tidemill savepoint list --store {store}"))
    })
}

/// Returns the folder of the savepoint that a person calls `at`.
pub fn place(store: Option<&Path>, at: &Path) -> Result<PathBuf, Failure> {
    savepoint_place(store, at).ok_or_else(|| {
        let text = format!(
            "\"{0}\" is a name, so the job's checkpoint directory is needed: add --store DIR, or give a path: ./{0}",
            at.display()
        );
        Failure::new(ErrorKind::Invalid, text)
    })
}
