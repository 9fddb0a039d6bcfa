//! The actions on states.

mod dump;
mod format;
mod list;

use tidemill_state::LocalStore;

use crate::args::StateAction;
use crate::failure::Failure;

/// Does what was asked, and returns what goes to stdout besides rows, which are printed as they are read.
pub fn run(action: &StateAction) -> Result<String, Failure> {
    match action {
        StateAction::List { epoch, count, common } => {
            list::run(&LocalStore::look_at(&common.store)?, *epoch, *count, common.json)
        }
        StateAction::Dump(asked) => dump::run(&LocalStore::look_at(&asked.store)?, asked),
    }
}
