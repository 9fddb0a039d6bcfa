//! A model repository: a folder with the versions of each model, in the layout of Triton Inference Server.
//!
//! ```text
//! <root>/<model>/<version>/model.onnx      the model, or the file that model.json names
//!                          golden.jsonl    rows with the scores that they have where the model was trained
//!                          model.json      name, version, hash; it is written last, so a version with it is complete
//!        <model>/aliases.json              {"champion": 3}
//! ```

mod golden;
#[cfg(feature = "model-servers")]
mod mlflow;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use self::golden::Golden;
use super::backend::ModelSource;
use super::error::ModelError;
use super::features::Features;
use super::manifest::{MANIFEST, Manifest};
use super::model::Model;
use super::session::SessionSettings;
use super::spec::FEATURES;
use super::versions::{VersionId, VersionSource};
use super::wanted::{ModelRef, VersionChoice};

const ALIASES: &str = "aliases.json";
const GOLDEN: &str = "golden.jsonl";

/// A model repository: MLflow's registry, or a folder: `<root>/<model>/<version>/model.onnx`, as Triton Inference Server has it. Versions
/// are whole numbers from 1.
///
/// A version is complete once it has `model.json`, which is written last: `name`, `version`, the `sha256` of the file,
/// and optionally its `file` name (default `model.onnx`), the `files` of external weights with their hashes, and
/// whatever else describes it. A version without `model.json` is ignored, because it may still be being copied.
#[derive(Clone, Debug)]
pub struct ModelRepository {
    root: PathBuf,
    /// Where versions are fetched from into the folder.
    #[cfg(feature = "model-servers")]
    registry: Option<mlflow::Registry>,
}

impl ModelRepository {
    /// Returns the repository in a folder.
    #[must_use]
    pub fn folder(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            #[cfg(feature = "model-servers")]
            registry: None,
        }
    }

    /// Returns MLflow's model registry at `url` (`http://host:port`), which is started with `--serve-artifacts`. A version is
    /// fetched into the folder `cache` when it is needed first; from then on it is there, with the registry or without.
    ///
    /// The version must be `READY`, and have a `model.onnx`, or one other file of that kind. If it has the tag `sha256`, its
    /// file must have that hash. The token of the registry is taken from the variable `MLFLOW_TRACKING_TOKEN`.
    #[cfg(feature = "model-servers")]
    #[must_use]
    pub fn mlflow(url: &str, cache: impl Into<PathBuf>) -> Self {
        let registry = mlflow::Registry::new(url, cache.into());
        Self { root: registry.cache().to_owned(), registry: Some(registry) }
    }

    /// Returns the complete versions of a model, in ascending order.
    ///
    /// # Errors
    /// Fails when the folder of the model cannot be read, or the registry does not answer.
    pub fn versions(&self, model: &str) -> Result<Vec<u64>, ModelError> {
        #[cfg(feature = "model-servers")]
        if let Some(registry) = &self.registry {
            return registry.versions(model);
        }
        self.in_folder(model)
    }

    fn in_folder(&self, model: &str) -> Result<Vec<u64>, ModelError> {
        let folder = self.root.join(model);
        let read = |source| ModelError::Read { path: folder.clone(), source };
        let mut versions = Vec::new();
        for entry in fs::read_dir(&folder).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            // Other folders, as .ipynb_checkpoints, are no versions; nor is 03, which could be a second 3.
            let version = name.to_str().and_then(|name| name.parse().ok().filter(|at: &u64| at.to_string() == name));
            if let Some(version) = version.filter(|version| *version > 0)
                && folder.join(version.to_string()).join(MANIFEST).exists()
            {
                versions.push(version);
            }
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// Finds a version of a model, and reads what `model.json` says of it. The model itself is not read yet.
    ///
    /// # Errors
    /// Fails when there is no such model, alias or complete version, and when `model.json` is not that of this version. With
    /// MLflow also when the registry does not answer, or serves another file than it states.
    pub fn find(&self, wanted: &ModelRef) -> Result<ModelVersion, ModelError> {
        let fails = |reason| ModelError::Unusable { model: wanted.to_string(), reason };
        #[cfg(feature = "model-servers")]
        if let Some(registry) = &self.registry {
            let version = registry.fetch(wanted)?;
            return ModelVersion::read(self.folder_of(&wanted.name, version), &wanted.name, version);
        }
        let versions = self.in_folder(&wanted.name)?;
        let version = match &wanted.version {
            VersionChoice::Latest => versions.last().copied().ok_or_else(|| {
                let folder = self.root.join(&wanted.name);
                fails(format!("\"{}\" has no version with a {MANIFEST}", folder.display()))
            })?,
            VersionChoice::Number(version) => version.get(),
            VersionChoice::Alias(alias) => self.resolve(wanted, alias)?,
        };
        if !versions.contains(&version) {
            let known: Vec<String> = versions.iter().map(u64::to_string).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(fails(format!(
                "version {version} is not there; the complete ones, with a {MANIFEST}, are: {known}"
            )));
        }
        ModelVersion::read(self.folder_of(&wanted.name, version), &wanted.name, version)
    }

    fn folder_of(&self, model: &str, version: u64) -> PathBuf {
        self.root.join(model).join(version.to_string())
    }

    /// Returns the versions of the repository as those of an operator that changes models while the job runs. Each is
    /// loaded as [`ModelVersion::load`] does.
    #[must_use]
    pub fn versions_with<F: Features>(
        &self,
        output: &str,
        column: usize,
        settings: &SessionSettings,
    ) -> RepositoryVersions<F> {
        let (repository, settings) = (self.clone(), settings.clone());
        RepositoryVersions { repository, output: output.to_owned(), column, settings, features: PhantomData }
    }

    fn resolve(&self, wanted: &ModelRef, alias: &str) -> Result<u64, ModelError> {
        let path = self.root.join(&wanted.name).join(ALIASES);
        let aliases: BTreeMap<String, u64> = read_json(&path)?;
        aliases.get(alias).copied().ok_or_else(|| {
            let known: Vec<&str> = aliases.keys().map(String::as_str).collect();
            let reason = format!("\"{}\" has no alias \"{alias}\"; it has: {}", path.display(), known.join(", "));
            ModelError::Unusable { model: wanted.to_string(), reason }
        })
    }
}

/// The versions of a repository for an operator whose features are `F`.
pub struct RepositoryVersions<F> {
    repository: ModelRepository,
    output: String,
    column: usize,
    settings: SessionSettings,
    features: PhantomData<fn() -> F>,
}

impl<F: Features> VersionSource for RepositoryVersions<F> {
    fn resolve(&self, wanted: &ModelRef) -> Result<VersionId, ModelError> {
        let ModelVersion { manifest: Manifest { name, version, sha256, .. }, folder } = self.repository.find(wanted)?;
        let version = NonZeroU64::new(version).ok_or_else(|| ModelError::Unusable {
            model: folder.display().to_string(),
            reason: "versions are numbered from 1".to_owned(),
        })?;
        Ok(VersionId { name, version, sha256 })
    }

    fn load(&self, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        self.load_found(self.repository.find(&id.into())?, id)
    }

    fn starts_threads(&self) -> bool {
        self.settings.intra_threads > NonZeroUsize::MIN || !self.settings.providers.is_empty()
    }

    fn folder(&self, id: &VersionId) -> Option<PathBuf> {
        Some(self.repository.folder_of(&id.name, id.version.get()))
    }

    fn load_from(&self, folder: &Path, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        self.load_found(ModelVersion::read(folder.to_owned(), &id.name, id.version.get())?, id)
    }
}

impl<F: Features> RepositoryVersions<F> {
    fn load_found(&self, found: ModelVersion, id: &VersionId) -> Result<Arc<dyn ModelSource>, ModelError> {
        let stated = &found.manifest.sha256;
        if !stated.eq_ignore_ascii_case(&id.sha256) {
            let reason = format!(
                "{MANIFEST} states the SHA-256 {stated}, and the version that was asked for has {}: another file was \
                 published under the same number",
                id.sha256
            );
            return Err(ModelError::Unusable { model: id.to_string(), reason });
        }
        Ok(Arc::new(found.load::<F>(&self.output, self.column, &self.settings)?))
    }
}

/// A complete version of a model in a repository.
#[derive(Clone, Debug)]
pub struct ModelVersion {
    folder: PathBuf,
    manifest: Manifest,
}

impl ModelVersion {
    /// Reads what `model.json` says of the version in a folder.
    fn read(folder: PathBuf, name: &str, version: u64) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST);
        let manifest: Manifest = read_json(&path)?;
        manifest
            .check(name, version)
            .map_err(|reason| ModelError::Unusable { model: path.display().to_string(), reason })?;
        Ok(Self { folder, manifest })
    }

    /// Returns the name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Returns the number of the version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.manifest.version
    }

    /// Returns the folder with all files of the version.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of the model's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.manifest.file)
    }

    /// Loads the model as [`Model::load_with`] does, through all gates, in this order: the files have the stated hashes;
    /// the model opens; where there is a `features.json`, it is that of the model and fits the features `F`; inputs and
    /// outputs fit; where there is a `golden.jsonl`, each of its rows gets its score, within 1e-6 of the larger of 1 and the
    /// score.
    ///
    /// A line of `golden.jsonl` is `{"features": {"amount": 3.5, "age": null}, "score": 0.25}`: values by name, or all in
    /// order; `null` is a NaN.
    ///
    /// # Errors
    /// Fails at the first gate that the model does not pass, with what was expected and what was found.
    pub fn load<F: Features>(
        &self,
        output: &str,
        column: usize,
        settings: &SessionSettings,
    ) -> Result<Model, ModelError> {
        let features = self.folder.join(FEATURES);
        let rules = match fs::read(&features) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ModelError::Read { path: features, source }),
        };
        let rules = rules.as_deref().map(|bytes| (&*features, bytes));
        let model = Model::load_as::<F>(&self.path(), output, column, settings, Some(&self.manifest), rules)?;
        let golden = self.folder.join(GOLDEN);
        match fs::read_to_string(&golden) {
            Ok(text) => Golden::read::<F>(&text, model.rules().map(|rules| &**rules))
                .and_then(|rows| rows.check(&model))
                .map_err(|reason| ModelError::Unusable { model: golden.display().to_string(), reason })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ModelError::Read { path: golden, source }),
        }
        Ok(model)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let bytes = fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|error| ModelError::Unusable {
        model: path.display().to_string(),
        reason: format!("it cannot be read: {error}"),
    })
}
