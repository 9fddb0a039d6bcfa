//! The actions on checkpoints.

mod choice;
mod diff;
mod list;
mod prune;
mod show;
mod verify;

pub use choice::{choose, whole};
use tidemill_state::LocalStore;

use crate::args::{Action, Common};
use crate::failure::Failure;

/// Does what was asked, and returns what goes to stdout.
pub fn run(action: &Action) -> Result<String, Failure> {
    let open = |common: &Common| LocalStore::look_at(&common.store);
    match action {
        Action::List(common) => list::run(&open(common)?, common.json),
        Action::Show { epoch, common } => show::run(&open(common)?, *epoch, common.json),
        Action::Verify { epoch, common } => verify::run(&open(common)?, *epoch, common),
        Action::Diff { before, after, common } => diff::run(&open(common)?, *before, *after, common.json),
        Action::Prune { keep, yes, common } => prune::run(&open(common)?, *keep, *yes, common),
    }
}
