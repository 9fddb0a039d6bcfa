//! ONNX models, which are loaded, identified by a hash, and checked against the program before the job runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ort::session::Session;
use sha2::{Digest, Sha256};

use super::backend::{Backend, ModelInfo, ModelSource};
use super::element::ElementType;
use super::error::ModelError;
use super::export::export_any_rows;
use super::external::Weights;
use super::features::Features;
use super::onnx_log;
use super::outlets::{Found, found, hint, rows_of, shown};
use super::session::{OnnxBackend, SessionSettings, build};
use super::tensor::TensorSpec;
use tidemill_engine::locks::lock;

/// An ONNX model that has been loaded and checked. It is cheap to clone; every thread that scores opens its own
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
    /// Whether the fixed number of rows has already been logged.
    warned: Arc<AtomicBool>,
    /// The session with which the model was checked. The first thread uses it, since loading a large model takes
    /// seconds.
    checked: Arc<Mutex<Option<Session>>>,
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
        let (mut model, session) = Self::read(path, settings)?;
        let trained_on = session.metadata().map_err(model.runtime("read the metadata of"))?.custom("feature_names");
        let row = TensorSpec::fixed("", ElementType::F32, [F::NAMES.len()]);
        let names = F::NAMES.join(", ");
        let same_names =
            trained_on.as_ref().is_none_or(|known| known.split(',').map(str::trim).eq(F::NAMES.iter().copied()));
        let inputs: Vec<Option<Found>> = session.inputs().iter().map(found).collect();
        match &inputs[..] {
            [Some(Found { spec, .. })] if spec.fits(&row) && same_names => {
                model.inputs = vec![TensorSpec { name: spec.name.clone(), ..row }]
            }
            _ => {
                let names_known = trained_on.map(|known| format!(": {}", known.replace(',', ", "))).unwrap_or_default();
                return Err(ModelError::Schema {
                    model: model.shown(),
                    found: format!("{}{names_known}", shown(session.inputs())),
                    program: format!("one input, f32 [n, {}]: {names}", F::NAMES.len()),
                });
            }
        }
        let scores = session
            .outputs()
            .iter()
            .filter_map(|outlet| found(outlet).map(|found| found.spec))
            .find(|found| found.name == output && found.element == ElementType::F32 && found.shape.len() <= 1);
        let Some(scores) = scores else {
            let wanted = format!("\"{output}\" of scores, f32 [n] or [n, columns]");
            return Err(model.no_output(&session, output, wanted));
        };
        if let [Some(columns)] = scores.shape[..]
            && column >= columns
        {
            let wanted = format!("\"{output}\" with a column {column}");
            return Err(ModelError::Output { model: model.shown(), wanted, found: scores.to_string() });
        }
        model.outputs = vec![scores];
        model.column = column;
        Ok(model.keep(session))
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
        let (mut model, session) = Self::read(path, settings)?;
        let inputs_found: Vec<TensorSpec> = session.inputs().iter().filter_map(found).map(|found| found.spec).collect();
        let has = |there: &[TensorSpec], wanted: &TensorSpec| {
            there.iter().any(|found| found.name == wanted.name && found.fits(wanted))
        };
        if inputs.len() != session.inputs().len() || !inputs.iter().all(|wanted| has(&inputs_found, wanted)) {
            let program: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            return Err(ModelError::Schema {
                model: model.shown(),
                found: shown(session.inputs()),
                program: program.join(", "),
            });
        }
        let outputs_found: Vec<TensorSpec> =
            session.outputs().iter().filter_map(found).map(|found| found.spec).collect();
        if let Some(missing) = outputs.iter().find(|wanted| !has(&outputs_found, wanted)) {
            return Err(model.no_output(&session, &missing.name, missing.to_string()));
        }
        if outputs.is_empty() {
            let reason = "no output was asked for: name at least one".to_owned();
            return Err(ModelError::Unusable { model: model.shown(), reason });
        }
        model.inputs = inputs;
        model.outputs = outputs;
        Ok(model.keep(session))
    }

    /// Returns the name and the hash of the model.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Reads the file and computes its name and hash. The caller checks inputs and outputs.
    fn read(path: &Path, settings: &SessionSettings) -> Result<(Self, Session), ModelError> {
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
            warned: Arc::default(),
            checked: Arc::default(),
        };
        let session = model.session()?;
        let unusable = |reason| ModelError::Unusable { model: model.shown(), reason };
        model.rows = rows_of(&session).map_err(unusable)?;
        let named = session.metadata().map_err(model.runtime("read the metadata of"))?.custom("model_name");
        model.info.name = named.unwrap_or(model.info.name);
        Ok((model, session))
    }

    fn keep(self, session: Session) -> Self {
        *lock(&self.checked) = Some(session);
        self
    }

    fn session(&self) -> Result<Session, ModelError> {
        build(&self.path, &self.bytes, &self.weights, &self.settings)
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn no_output(&self, session: &Session, name: &str, wanted: String) -> ModelError {
        let found = format!("{}{}", shown(session.outputs()), hint(session.outputs(), name));
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

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        let checked = lock(&self.checked).take();
        let session = checked.map_or_else(|| self.session(), Ok)?;
        onnx_log::catch_up();
        if let Some(rows) = self.rows
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            let advice = export_any_rows(self.inputs.first().map_or("input", |input| &input.name));
            tracing::warn!(model = %self.path.display(), rows, "the model takes exactly this number of rows at a time. {advice}");
        }
        let backend = OnnxBackend::new(session, &self.inputs, &self.outputs).map_err(self.runtime("set up runs of"))?;
        Ok(Box::new(backend))
    }
}
