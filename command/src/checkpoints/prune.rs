//! `tidemill checkpoints prune`: what the job itself does after each commit, with another number.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tidemill_state::{
    BaseEntry, BaseFile, CheckpointStore, Contents, ErrorKind, LocalStore, Retention, StateError, catalogue,
};

use crate::args::Common;
use crate::failure::Failure;
use crate::report;

pub fn run(store: &LocalStore, keep: NonZeroUsize, yes: bool, common: &Common) -> Result<String, Failure> {
    // A damaged manifest protects no files, so what only it names would be deleted.
    if let Some(damaged) = catalogue(store)?.iter().find(|one| matches!(one.contents, Contents::Damaged(_))) {
        let text = format!(
            "nothing was deleted: \"{}\" is damaged, so it is not known which files it needs; bring it back or delete it, then see: tidemill checkpoints verify --store {}",
            damaged.file,
            common.store.display()
        );
        return Err(Failure::new(ErrorKind::Data, text));
    }
    let watched = Watched { store, deletes: yes, deleted: Mutex::default() };
    Retention { keep: keep.get() }.prune(&watched)?;
    let deleted = watched.deleted.into_inner().unwrap_or_else(PoisonError::into_inner);
    if common.json {
        return Ok(report::json(&json!({ "deleted": yes, "files": deleted }))?);
    }
    let verb = if yes { "deleted" } else { "would delete" };
    let mut text: String = deleted.iter().map(|file| format!("{verb} {file}\n")).collect();
    text += &match (deleted.len(), yes) {
        (0, _) => "nothing to delete\n".to_owned(),
        (count, true) => format!("{count} files and folders were deleted\n"),
        (count, false) => format!("{count} files and folders; to delete them, add --yes\n"),
    };
    Ok(text)
}

/// A store that notes what is deleted. It deletes only if it is to, and refuses every other change.
struct Watched<'s> {
    store: &'s LocalStore,
    deletes: bool,
    deleted: Mutex<Vec<String>>,
}

fn refused<T>() -> Result<T, StateError> {
    Err(StateError::Internal("pruning writes to the store".to_owned()))
}

impl CheckpointStore for Watched<'_> {
    fn put_new(&self, _: &str, _: &[u8]) -> Result<(), StateError> {
        refused()
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<(), StateError> {
        refused()
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StateError> {
        self.store.get(name)
    }

    fn len(&self, name: &str) -> Result<Option<u64>, StateError> {
        self.store.len(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        self.store.list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        if self.deletes {
            self.store.delete(name)?;
        }
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        Ok(())
    }

    fn adopt(&self, _: &str, _: &Path) -> Result<Vec<BaseFile>, StateError> {
        refused()
    }

    fn fetch(&self, _: &BaseEntry, _: &Path) -> Result<(), StateError> {
        refused()
    }

    fn locate(&self, name: &str) -> String {
        self.store.locate(name)
    }
}
