//! ONNX models, which are loaded, identified by a hash, and checked against the program before the job runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ort::session::Session;
use sha2::{Digest, Sha256};

use super::backend::{Backend, ModelInfo, ModelSource};
use super::element::ElementType;
use super::engine::{Choice, Engine, choose};
use super::error::ModelError;
use super::export::export_any_rows;
use super::external::Weights;
use super::features::Features;
use super::onnx_log;
use super::outlets::{Declaration, Declared, Found, hint, rows_of, shown};
use super::session::{OnnxBackend, SessionSettings, build};
use super::tensor::TensorSpec;
use super::trees::{self, Program};
use tidemill_engine::locks::lock;

/// A model in a file, which has been loaded and checked. It is cheap to clone; every thread that scores opens its own
/// session.
#[derive(Clone, Debug)]
pub struct Model {
    path: PathBuf,
    bytes: Arc<[u8]>,
    /// The files of external weights.
    weights: Arc<Weights>,
    info: ModelInfo,
    settings: SessionSettings,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    column: usize,
    /// The number of rows that every run must have, if the model accepts only one.
    rows: Option<usize>,
    /// The forest, where it is walked here instead of by ONNX Runtime.
    forest: Option<Arc<Program>>,
    choice: Choice,
    /// Whether the fixed number of rows has already been logged.
    warned: Arc<AtomicBool>,
    /// The session with which the model was checked. The first thread uses it, since loading a large model takes
    /// seconds.
    checked: Arc<Mutex<Option<Session>>>,
}

/// A model's file, read.
struct Read {
    session: Option<Session>,
    /// The forest, or the reason why there is none that can be walked here.
    forest: Result<Arc<Program>, String>,
    declared: Declared,
}

impl Model {
    /// Loads the model at `path` and checks that it takes the features `F`, in their order. The score of a row is
    /// column `column` of the output `output`, f32 `[n]` or `[n, columns]`.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is not a model, or when inputs or outputs do not fit. If they do not fit,
    /// the error shows what the model has and what the program wants.
    pub fn load<F: Features>(path: &Path, output: &str, column: usize) -> Result<Self, ModelError> {
        Self::load_with::<F>(path, output, column, &SessionSettings::default())
    }

    /// Loads a model like [`load`](Self::load), with settings of ONNX Runtime: execution providers and threads.
    ///
    /// # Errors
    /// Fails as [`load`](Self::load) does, and when an execution provider is not available.
    pub fn load_with<F: Features>(
        path: &Path,
        output: &str,
        column: usize,
        settings: &SessionSettings,
    ) -> Result<Self, ModelError> {
        let (mut model, read) = Self::read(path, settings)?;
        let Declared { inputs, outputs, feature_names: trained_on, .. } = &read.declared;
        let row = TensorSpec::fixed("", ElementType::F32, [F::NAMES.len()]);
        let names = F::NAMES.join(", ");
        let same_names = trained_on.as_ref().is_none_or(|known| known.iter().eq(F::NAMES));
        match inputs.iter().map(|input| &input.found).collect::<Vec<_>>()[..] {
            [Some(Found { spec, .. })] if spec.fits(&row) && same_names => {
                model.inputs = vec![TensorSpec { name: spec.name.clone(), ..row }]
            }
            _ => {
                let names_known = trained_on.as_ref().map(|known| format!(": {}", known.join(", ")));
                return Err(ModelError::Schema {
                    model: model.shown(),
                    found: format!("{}{}", shown(inputs), names_known.unwrap_or_default()),
                    program: format!("one input, f32 [n, {}]: {names}", F::NAMES.len()),
                });
            }
        }
        let scores = outputs
            .iter()
            .filter_map(|output| output.found.as_ref().map(|found| &found.spec))
            .find(|found| found.name == output && found.element == ElementType::F32 && found.shape.len() <= 1);
        let Some(scores) = scores.cloned() else {
            let wanted = format!("\"{output}\" of scores, f32 [n] or [n, columns]");
            return Err(model.no_output(&read.declared, output, wanted));
        };
        if let [Some(columns)] = scores.shape[..]
            && column >= columns
        {
            let wanted = format!("\"{output}\" with a column {column}");
            return Err(ModelError::Output { model: model.shown(), wanted, found: scores.to_string() });
        }
        model.outputs = vec![scores];
        model.column = column;
        model.keep(read)
    }

    /// Loads the model at `path` and checks its inputs and outputs by name, type and shape. `inputs` must list all
    /// inputs of the model, in any order; `outputs` must list at least one of its outputs.
    ///
    /// # Errors
    /// Fails as [`load_with`](Self::load_with) does.
    pub fn load_tensors(
        path: &Path,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        settings: &SessionSettings,
    ) -> Result<Self, ModelError> {
        let (mut model, read) = Self::read(path, settings)?;
        let specs = |all: &[Declaration]| -> Vec<TensorSpec> {
            all.iter().filter_map(|one| one.found.as_ref()).map(|found| found.spec.clone()).collect()
        };
        let declared = &read.declared;
        let (inputs_found, outputs_found) = (specs(&declared.inputs), specs(&declared.outputs));
        let has = |there: &[TensorSpec], wanted: &TensorSpec| {
            there.iter().any(|found| found.name == wanted.name && found.fits(wanted))
        };
        if inputs.len() != declared.inputs.len() || !inputs.iter().all(|wanted| has(&inputs_found, wanted)) {
            let program: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            return Err(ModelError::Schema {
                model: model.shown(),
                found: shown(&declared.inputs),
                program: program.join(", "),
            });
        }
        if let Some(missing) = outputs.iter().find(|wanted| !has(&outputs_found, wanted)) {
            return Err(model.no_output(declared, &missing.name, missing.to_string()));
        }
        if outputs.is_empty() {
            let reason = "no output was asked for: name at least one".to_owned();
            return Err(ModelError::Unusable { model: model.shown(), reason });
        }
        model.inputs = inputs;
        model.outputs = outputs;
        model.keep(read)
    }

    /// Returns the name and the hash of the model.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Reads the file and computes its name and hash. The caller checks inputs and outputs.
    fn read(path: &Path, settings: &SessionSettings) -> Result<(Self, Read), ModelError> {
        let bytes: Arc<[u8]> =
            std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.into();
        let mut hash = Sha256::new_with_prefix(&bytes);
        // ONNX Runtime looks for weights in the model's folder, so the path must not depend on the working folder.
        let path = std::path::absolute(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        let weights = Weights::find(&path, &bytes, &mut hash)?;
        let hash = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut model = Self {
            path,
            bytes,
            weights: Arc::new(weights),
            info: ModelInfo { name: stem, hash },
            settings: settings.clone(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            column: 0,
            rows: None,
            forest: None,
            choice: Choice { engine: Engine::OnnxRuntime, reason: String::new() },
            warned: Arc::default(),
            checked: Arc::default(),
        };
        let unusable = |reason| ModelError::Unusable { model: model.shown(), reason };
        let forest = match settings.engine {
            Engine::OnnxRuntime => Err("the settings ask for ONNX Runtime".to_owned()),
            Engine::Auto if !settings.providers.is_empty() => Err("the settings name execution providers".to_owned()),
            Engine::Auto | Engine::Trees => trees::read(&model.bytes).map(Arc::new),
        };
        let session = match (settings.engine, &forest) {
            (Engine::Trees, Ok(_)) => None,
            (Engine::Trees, Err(reason)) => {
                return Err(unusable(format!("the settings ask for the engine of trees, but {reason}")));
            }
            (_, forest) => match model.session() {
                Err(ModelError::NoRuntime { .. }) if forest.is_ok() => None,
                session => Some(session?),
            },
        };
        let declared = match (&session, &forest) {
            (None, Ok(forest)) => Declared::of_forest(forest),
            (Some(session), _) => Declared::of_session(session).map_err(model.runtime("read the metadata of"))?,
            (None, Err(reason)) => return Err(unusable(reason.clone())),
        };
        model.rows = rows_of(&declared.inputs).map_err(unusable)?;
        if let Some(name) = &declared.name {
            model.info.name.clone_from(name);
        }
        Ok((model, Read { session, forest, declared }))
    }

    /// Chooses what runs the model, now that its outputs are known.
    fn keep(mut self, read: Read) -> Result<Self, ModelError> {
        let Read { session, forest, .. } = read;
        let walked = forest.and_then(|forest| {
            let backend = forest.backend(&self.outputs).ok_or_else(|| "an output is not one of the forest".to_owned());
            backend.map(|backend| (forest, backend))
        });
        self.choice = match (session, walked) {
            (None, Ok((forest, _))) => {
                self.forest = Some(forest);
                let reason = match self.settings.engine {
                    Engine::Trees => "the settings ask for it",
                    _ => "ONNX Runtime's library was not found",
                };
                Choice { engine: Engine::Trees, reason: reason.to_owned() }
            }
            (None, Err(reason)) => return Err(ModelError::Unusable { model: self.shown(), reason }),
            (Some(session), Err(reason)) => {
                *lock(&self.checked) = Some(session);
                Choice { engine: Engine::OnnxRuntime, reason }
            }
            (Some(session), Ok((forest, mut walked))) => {
                let mut onnx = self.backend(session)?;
                let choice = choose(&forest, &self.outputs, &mut onnx, &mut walked);
                match choice.engine {
                    Engine::Trees => self.forest = Some(forest),
                    _ => *lock(&self.checked) = Some(onnx.into_session()),
                }
                choice
            }
        };
        let Choice { engine, reason } = &self.choice;
        let trees = self.forest.as_ref().map(|forest| forest.trees());
        tracing::info!(model = %self.path.display(), %engine, trees, reason, "what runs the model was chosen");
        Ok(self)
    }

    fn backend(&self, session: Session) -> Result<OnnxBackend, ModelError> {
        OnnxBackend::new(session, &self.inputs, &self.outputs).map_err(self.runtime("set up runs of"))
    }

    fn session(&self) -> Result<Session, ModelError> {
        build(&self.path, &self.bytes, &self.weights, &self.settings)
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn no_output(&self, declared: &Declared, name: &str, wanted: String) -> ModelError {
        let found = format!("{}{}", shown(&declared.outputs), hint(&declared.outputs, name));
        ModelError::Output { model: self.shown(), wanted, found }
    }

    fn runtime(&self, what: &'static str) -> impl Fn(ort::Error) -> ModelError + use<> {
        let path = self.path.clone();
        move |source| ModelError::Runtime { what, path: path.clone(), source }
    }
}

impl ModelSource for Model {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn score_column(&self) -> usize {
        self.column
    }

    fn batch_rows(&self) -> Option<usize> {
        self.rows
    }

    fn engine(&self) -> Option<String> {
        Some(format!("{}: {}", self.choice.engine, self.choice.reason))
    }

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        if let Some(forest) = &self.forest {
            let unusable = || ModelError::Unusable { model: self.shown(), reason: "it has other outputs".to_owned() };
            return Ok(Box::new(forest.backend(&self.outputs).ok_or_else(unusable)?));
        }
        let checked = lock(&self.checked).take();
        let session = checked.map_or_else(|| self.session(), Ok)?;
        onnx_log::catch_up();
        if let Some(rows) = self.rows
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            let advice = export_any_rows(self.inputs.first().map_or("input", |input| &input.name));
            tracing::warn!(model = %self.path.display(), rows, "the model takes exactly this number of rows at a time. {advice}");
        }
        Ok(Box::new(self.backend(session)?))
    }
}
