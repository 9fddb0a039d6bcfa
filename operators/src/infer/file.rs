//! A model's file: its hash, what it declares, and what can run it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::session::Session;
use sha2::{Digest, Sha256};

use super::backend::ModelInfo;
use super::engine::Engine;
use super::error::ModelError;
use super::external::Weights;
use super::manifest::Manifest;
use super::outlets::{Declared, hint, shown};
use super::session::{SessionSettings, build};
use super::trees::{self, Program};

/// The file of a model.
#[derive(Clone, Debug)]
pub(super) struct ModelFile {
    pub(super) path: PathBuf,
    pub(super) info: ModelInfo,
    pub(super) settings: SessionSettings,
    /// Whether it is in a format of XGBoost or LightGBM.
    pub(super) is_of_library: bool,
    bytes: Arc<[u8]>,
    /// The files of external weights.
    weights: Arc<Weights>,
}

/// What a file has, and what can run it.
pub(super) struct Read {
    pub(super) session: Option<Session>,
    /// The forest, or the reason why there is none that can be walked here.
    pub(super) forest: Result<Arc<Program>, String>,
    pub(super) declared: Declared,
    /// The reason why there is no session, where the forest replaces one.
    no_runtime: Option<ModelError>,
}

impl ModelFile {
    /// Reads the file and computes its name and hash, which are those that are stated.
    pub(super) fn read(
        path: &Path,
        settings: &SessionSettings,
        stated: Option<&Manifest>,
    ) -> Result<(Self, Read), ModelError> {
        let bytes: Arc<[u8]> =
            std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.into();
        let is_of_library = trees::is_of_library(&bytes);
        let mut hash = Sha256::new_with_prefix(&bytes);
        if let Some(Manifest { sha256, .. }) = stated {
            check_hash(path, sha256, &hex(&hash.clone().finalize()))?;
        }
        // ONNX Runtime looks for weights in the model's folder, so the path must not depend on the working folder.
        let path = std::path::absolute(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        let weights = if is_of_library { Weights::default() } else { Weights::find(&path, &bytes, &mut hash)? };
        if let Some(Manifest { files, .. }) = stated {
            weights.each(|location, file| {
                let what = file.display().to_string();
                let Some(sha256) = files.get(location) else {
                    let reason = "model.json states no hash of these weights under \"files\"".to_owned();
                    return Err(ModelError::Unusable { model: what, reason });
                };
                let mut found = Sha256::new();
                let read = File::open(file).and_then(|mut from| io::copy(&mut from, &mut found));
                read.map_err(|source| ModelError::Read { path: file.to_owned(), source })?;
                check_hash(file, sha256, &hex(&found.finalize()))
            })?;
        }
        let hash = hex(hash.finalize().get(..8).unwrap_or_default());
        let (name, version) = match stated {
            Some(Manifest { name, version, .. }) => (name.clone(), Some(*version)),
            None => (path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(), None),
        };
        let info = ModelInfo { name, version, hash };
        let weights = Arc::new(weights);
        let mut file = Self { path, info, settings: settings.clone(), is_of_library, bytes, weights };
        let read = if is_of_library { file.of_library() } else { file.onnx() }?;
        if let (Some(name), None) = (&read.declared.name, stated) {
            file.info.name.clone_from(name);
        }
        Ok((file, read))
    }

    fn of_library(&self) -> Result<Read, ModelError> {
        if self.settings.engine == Engine::OnnxRuntime {
            let reason = "the settings ask for ONNX Runtime, which does not read files of XGBoost and LightGBM";
            return Err(self.unusable(reason));
        }
        let forest = trees::read(&self.bytes).map_err(|reason| self.unusable(reason))?;
        let declared = Declared::of_forest(&forest);
        Ok(Read { session: None, forest: Ok(Arc::new(forest)), declared, no_runtime: None })
    }

    fn onnx(&self) -> Result<Read, ModelError> {
        let SessionSettings { engine, providers, .. } = &self.settings;
        let forest = match engine {
            Engine::OnnxRuntime => Err("the settings ask for it".to_owned()),
            Engine::Auto if !providers.is_empty() => Err("the settings name execution providers".to_owned()),
            Engine::Auto | Engine::Trees => trees::read(&self.bytes).map(Arc::new),
        };
        let (session, no_runtime) = match (engine, &forest) {
            (Engine::Trees, Ok(_)) => (None, None),
            (Engine::Trees, Err(reason)) => {
                return Err(self.unusable(format!("the settings ask for the engine \"trees\", but {reason}")));
            }
            (_, forest) => match self.session() {
                Err(error @ ModelError::NoRuntime { .. }) if forest.is_ok() => (None, Some(error)),
                session => (Some(session?), None),
            },
        };
        let declared = match (&session, &forest) {
            (Some(session), _) => Declared::of_session(session).map_err(self.runtime("read the metadata of"))?,
            (None, Ok(forest)) => Declared::of_forest(forest),
            (None, Err(reason)) => return Err(self.unusable(reason.clone())),
        };
        Ok(Read { session, forest, declared, no_runtime })
    }

    /// Creates a session of ONNX Runtime.
    pub(super) fn session(&self) -> Result<Session, ModelError> {
        build(&self.path, &self.bytes, &self.weights, &self.settings)
    }

    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn unusable(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Unusable { model: self.shown(), reason: reason.into() }
    }

    /// Returns the error of a model that lacks an output. A forest may lack outputs that ONNX Runtime would have.
    pub(super) fn no_output(&self, read: Read, name: &str, wanted: String) -> ModelError {
        let outputs = &read.declared.outputs;
        let found = format!("{}{}", shown(outputs), hint(outputs, name));
        read.no_runtime.unwrap_or_else(|| ModelError::Output { model: self.shown(), wanted, found })
    }

    pub(super) fn runtime(&self, what: &'static str) -> impl Fn(ort::Error) -> ModelError + use<> {
        let path = self.path.clone();
        move |source| ModelError::Runtime { what, path: path.clone(), source }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_hash(path: &Path, stated: &str, found: &str) -> Result<(), ModelError> {
    if stated.eq_ignore_ascii_case(found) {
        return Ok(());
    }
    let reason = format!(
        "its SHA-256 is {found}, and model.json states {stated}: it was changed after it was published, or not all of it \
         was copied"
    );
    Err(ModelError::Unusable { model: path.display().to_string(), reason })
}
