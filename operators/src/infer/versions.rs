//! Where versions of a model come from while a job runs.

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::backend::ModelSource;
use super::error::ModelError;
use super::wanted::{ModelRef, VersionChoice};

/// A version of a model, and what its file must be. It means the same at any time, so it can be in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionId {
    /// The name of the model.
    pub name: String,
    /// The number of the version.
    pub version: NonZeroU64,
    /// The SHA-256 of the model's file, in hexadecimal digits. For a model on a server, whatever identifies it there.
    pub sha256: String,
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

impl From<&VersionId> for ModelRef {
    fn from(id: &VersionId) -> Self {
        Self { name: id.name.clone(), version: VersionChoice::Number(id.version) }
    }
}

/// Where an operator gets the versions of its model that it is told to use while the job runs: a
/// [repository](super::ModelRepository), or a program's own. Its methods are called on threads beside the workers, and
/// may block.
pub trait VersionSource: Send + Sync {
    /// Finds out what a reference means now.
    ///
    /// # Errors
    /// Fails when there is no such version.
    fn resolve(&self, wanted: &ModelRef) -> Result<VersionId, ModelError>;

    /// Loads a version through all gates.
    ///
    /// # Errors
    /// Fails at the first gate that the model does not pass, among them that its file is the one that `id` states.
    fn load(&self, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError>;

    /// Returns whether its models start threads of their own, as those do that run on several. Then they are loaded with
    /// the priority of a worker, which such threads take over; all others get about a tenth of a core for it while workers
    /// use all of them. By default they may.
    fn starts_threads(&self) -> bool {
        true
    }

    /// Returns the folder that has all files of a version that was loaded, if there is one. It is copied beside the
    /// checkpoints, for [`load_from`](Self::load_from); by default nothing is.
    fn folder(&self, id: &VersionId) -> Option<PathBuf> {
        let _ = id;
        None
    }

    /// Loads a version from a copy of its [`folder`](Self::folder), through all gates, because [`load`](Self::load) has
    /// failed.
    ///
    /// # Errors
    /// Fails as [`load`](Self::load) does.
    fn load_from(&self, folder: &Path, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        let reason = format!("it cannot be loaded from \"{}\"", folder.display());
        Err(ModelError::Unusable { model: id.to_string(), reason })
    }
}
