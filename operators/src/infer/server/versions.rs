//! The versions of a model on servers, for an operator whose model changes while the job runs.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::model::ServedModel;
use crate::infer::{ModelError, ModelInfo, ModelRef, ModelSource, VersionChoice, VersionId, VersionSource};

/// The versions of a model on a model server: version 4 is at the model's address followed by `/4`, or
/// [somewhere else](Self::at). They must have the same inputs and outputs.
///
/// * Identity: the address of a version is in the control log in the place of a hash. What the server has there, it alone
///   knows: no file is checked, and none is copied beside the checkpoints. A restart needs the server.
/// * Aliases: none. What a server means by a label may differ from call to call.
pub struct ServedVersions {
    model: ServedModel,
    elsewhere: BTreeMap<NonZeroU64, String>,
}

impl ServedModel {
    /// Returns the versions of this model, for [`Models::with_versions_of`](crate::infer::Models::with_versions_of).
    #[must_use]
    pub fn versions(&self) -> ServedVersions {
        ServedVersions { model: self.clone(), elsewhere: BTreeMap::new() }
    }
}

impl ServedVersions {
    /// Says that a version has an address of its own, as one that is tried on another server.
    #[must_use]
    pub fn at(mut self, version: NonZeroU64, url: impl Into<String>) -> Self {
        self.elsewhere.insert(version, url.into());
        self
    }

    fn address(&self, version: NonZeroU64) -> String {
        self.elsewhere.get(&version).cloned().unwrap_or_else(|| self.model.address_of(version))
    }

    /// Returns the largest number of a version.
    fn latest(&self) -> Result<Option<NonZeroU64>, ModelError> {
        let listed = self.model.listed_versions()?;
        let numbers = listed.iter().filter_map(|version| version.parse().ok());
        Ok(numbers.chain(self.elsewhere.keys().copied()).max())
    }
}

impl VersionSource for ServedVersions {
    fn resolve(&self, wanted: &ModelRef) -> Result<VersionId, ModelError> {
        let own = &self.model.info().name;
        let refused = |reason: String| ModelError::Unusable { model: wanted.to_string(), reason };
        if wanted.name != *own {
            return Err(refused(format!("the versions of this operator are those of \"{own}\" on a server")));
        }
        let version = match &wanted.version {
            VersionChoice::Number(number) => *number,
            VersionChoice::Latest => self.latest()?.ok_or_else(|| {
                refused("the server lists no version of it that is a number: name the one that you want".to_owned())
            })?,
            VersionChoice::Alias(alias) => {
                return Err(refused(format!("\"{alias}\" is an alias, and a server has none: name a number")));
            }
        };
        Ok(VersionId { name: own.clone(), version, sha256: self.address(version) })
    }

    fn load(&self, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        let address = self.address(id.version);
        if address != id.sha256 {
            let reason = format!("it was at {} when it was asked for, and is at {address} now", id.sha256);
            return Err(ModelError::Unusable { model: id.to_string(), reason });
        }
        let info = ModelInfo { version: Some(id.version.get()), ..self.model.info().clone() };
        Ok(Arc::new(self.model.elsewhere(&address, info)?))
    }
}
