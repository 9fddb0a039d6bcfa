//! A list of what a checkpoint directory has, for whoever looks at it without being its job.

use super::claim::claim_in;
use super::history::list_epochs;
use super::manifest::Manifest;
use super::store::CheckpointStore;
use crate::error::StateError;

/// A file of `manifests/`, as it is in the store.
#[derive(Clone, Debug)]
pub struct Catalogued {
    /// Number of the file: the epoch, or what a start claimed.
    pub number: u64,
    /// Name of the file in the store.
    pub file: String,
    /// What the file is.
    pub contents: Contents,
}

/// The contents of a file of `manifests/`.
#[derive(Clone, Debug)]
pub enum Contents {
    /// The checkpoint of an epoch.
    Checkpoint(Box<Manifest>),
    /// The claim of a start.
    Claim {
        /// Time of the start, in milliseconds since the Unix epoch.
        created_ms: i64,
        /// Whether the start discarded the checkpoints between `of` and this number.
        gives_up: bool,
        /// Manifest that the start continued from; that of epoch 0 if it found none.
        of: Box<Manifest>,
    },
    /// A file that cannot be read as either, and why.
    Damaged(String),
}

impl Catalogued {
    /// Returns the manifest of a checkpoint, or the copy in a claim, if it has one.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.contents {
            Contents::Checkpoint(manifest) => Some(manifest),
            Contents::Claim { of, .. } => Some(of).filter(|of| of.epoch > 0).map(AsRef::as_ref),
            Contents::Damaged(_) => None,
        }
    }

    /// Returns the manifest of a checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Manifest> {
        match &self.contents {
            Contents::Checkpoint(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// Reads a file, or returns `None` if it is not there: a running job may just have removed it.
    ///
    /// # Errors
    /// When the file is there, but cannot be read.
    pub fn read(store: &dyn CheckpointStore, number: u64) -> Result<Option<Self>, StateError> {
        let file = Manifest::file(number);
        let bytes = match store.get(&file) {
            Err(_) if store.len(&file)?.is_none() => return Ok(None),
            read => read?,
        };
        let contents = match claim_in(&bytes) {
            Some(Ok(claim)) => {
                Contents::Claim { created_ms: claim.created_ms, gives_up: claim.gives_up, of: Box::new(claim.of) }
            }
            Some(Err(reason)) => Contents::Damaged(reason),
            None => match Manifest::read(store, number, &bytes) {
                Ok(manifest) => Contents::Checkpoint(Box::new(manifest)),
                Err(StateError::Corrupt { reason, .. }) => Contents::Damaged(reason),
                Err(error) => return Err(error),
            },
        };
        Ok(Some(Self { number, file, contents }))
    }
}

/// Returns the files of `manifests/` in the order of their numbers. It only reads.
///
/// # Errors
/// When the store cannot be listed or read.
pub fn catalogue(store: &dyn CheckpointStore) -> Result<Vec<Catalogued>, StateError> {
    let read = list_epochs(store)?.into_iter().map(|number| Catalogued::read(store, number));
    read.filter_map(Result::transpose).collect()
}
