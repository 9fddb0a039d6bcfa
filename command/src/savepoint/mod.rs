//! The actions on savepoints.

mod copy;
mod delete;
mod list;
mod restore;
mod take;

use std::path::{Path, PathBuf};

use tidemill_state::{ErrorKind, LocalStore, Savepoint, savepoint_place};

use crate::args::savepoint::SavepointAction;
use crate::failure::Failure;

/// Does what was asked, and returns what goes to stdout. A program that is started takes the place of this process.
pub fn run(action: &SavepointAction) -> Result<String, Failure> {
    match action {
        SavepointAction::Take { name, epoch, common } => {
            take::run(&LocalStore::look_at(&common.store)?, name.as_ref(), *epoch, common)
        }
        SavepointAction::List(common) => list::run(common),
        SavepointAction::Copy { source, target, store } => copy::run(source, target, store.as_deref()),
        SavepointAction::Delete { name, yes, store } => delete::run(name, *yes, store),
        SavepointAction::Restore { savepoint, claim_mode, store, program } => {
            restore::run(savepoint, *claim_mode, store, program)
        }
    }
}

/// Opens the savepoint that a person calls `at`.
fn open(store: Option<&Path>, at: &Path) -> Result<Savepoint, Failure> {
    let place = place(store, at)?;
    Savepoint::open(&place).map_err(|error| {
        let store = store.map_or_else(|| "DIR".to_owned(), |store| store.display().to_string());
        Failure::of(&error, &format!("\nsee what is there with: tidemill savepoint list --store {store}"))
    })
}

fn place(store: Option<&Path>, at: &Path) -> Result<PathBuf, Failure> {
    savepoint_place(store, at).ok_or_else(|| {
        let text = format!(
            "\"{0}\" is a name, so the job's checkpoint directory is needed: add --store DIR, or give a path: ./{0}",
            at.display()
        );
        Failure::new(ErrorKind::Invalid, text)
    })
}
