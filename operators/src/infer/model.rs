//! An ONNX model: loaded, named by its hash, and checked against the program before the job runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};
use sha2::{Digest, Sha256};

use super::backend::{Backend, ModelInfo, ModelSource};
use super::error::ModelError;
use super::features::Features;
use super::session::{OnnxBackend, SessionSettings, build};
use super::tensor::{ElementType, TensorSpec};

/// A loaded and checked model. Cheap to clone; every thread that scores makes its own session of it.
#[derive(Clone, Debug)]
pub struct Model {
    path: PathBuf,
    bytes: Arc<[u8]>,
    info: ModelInfo,
    settings: SessionSettings,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    column: usize,
    /// The session the model was checked with, for the first thread: loading a large one takes seconds.
    checked: Arc<Mutex<Option<Session>>>,
}

impl Model {
    /// Loads `path` and checks that it takes the features `F`, in their order. The score of a row is
    /// column `column` of the output `output`, f32 `[n]` or `[n, columns]`.
    ///
    /// # Errors
    /// When the file cannot be read or is no model, or when inputs or outputs do not fit; both sides
    /// are printed.
    pub fn load<F: Features>(path: &Path, output: &str, column: usize) -> Result<Self, ModelError> {
        Self::load_with::<F>(path, output, column, &SessionSettings::default())
    }

    /// The same, with settings of ONNX Runtime: execution providers, threads.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when an execution provider is not there.
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
        let found = specs(session.inputs());
        match &found[..] {
            [Some(input)] if input.fits(&row) && same_names => {
                model.inputs = vec![TensorSpec { name: input.name.clone(), ..row }]
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
        let scores = specs(session.outputs())
            .into_iter()
            .flatten()
            .find(|found| found.name == output && found.element == ElementType::F32 && found.shape.len() <= 1);
        let Some(scores) = scores else {
            let wanted = format!("\"{output}\" of scores, f32 [n] or [n, columns]");
            return Err(ModelError::Output { model: model.shown(), wanted, found: shown(session.outputs()) });
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

    /// Loads `path` and checks that it has the inputs `inputs` (all it has, in any order) and the outputs
    /// `outputs` (some it has), by name, type and shape.
    ///
    /// # Errors
    /// As [`load_with`](Self::load_with).
    pub fn load_tensors(
        path: &Path,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        settings: &SessionSettings,
    ) -> Result<Self, ModelError> {
        let (mut model, session) = Self::read(path, settings)?;
        let found: Vec<TensorSpec> = specs(session.inputs()).into_iter().flatten().collect();
        let has = |there: &[TensorSpec], wanted: &TensorSpec| {
            there.iter().any(|found| found.name == wanted.name && found.fits(wanted))
        };
        if inputs.len() != session.inputs().len() || !inputs.iter().all(|wanted| has(&found, wanted)) {
            let program: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            return Err(ModelError::Schema {
                model: model.shown(),
                found: shown(session.inputs()),
                program: program.join(", "),
            });
        }
        let found: Vec<TensorSpec> = specs(session.outputs()).into_iter().flatten().collect();
        if let Some(missing) = outputs.iter().find(|wanted| !has(&found, wanted)) {
            let wanted = missing.to_string();
            return Err(ModelError::Output { model: model.shown(), wanted, found: shown(session.outputs()) });
        }
        if outputs.is_empty() {
            let reason = "no output was asked for: name at least one".to_owned();
            return Err(ModelError::Unusable { model: model.shown(), reason });
        }
        model.inputs = inputs;
        model.outputs = outputs;
        Ok(model.keep(session))
    }

    /// Which model this is.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The file, named; inputs and outputs are still to be checked.
    fn read(path: &Path, settings: &SessionSettings) -> Result<(Self, Session), ModelError> {
        let bytes: Arc<[u8]> =
            std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.into();
        let hash = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut model = Self {
            path: path.to_owned(),
            bytes,
            info: ModelInfo { name: stem, hash },
            settings: settings.clone(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            column: 0,
            checked: Arc::default(),
        };
        let session = build(&model.path, &model.bytes, &model.settings)?;
        let named = session.metadata().map_err(model.runtime("read the metadata of"))?.custom("model_name");
        model.info.name = named.unwrap_or(model.info.name);
        Ok((model, session))
    }

    fn keep(self, session: Session) -> Self {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        self
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
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

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let session = checked.map_or_else(|| build(&self.path, &self.bytes, &self.settings), Ok)?;
        Ok(Box::new(OnnxBackend::new(session, &self.inputs, &self.outputs)))
    }
}

/// What a model says of its inputs or outputs; `None` for what is no batch of tensors we know.
fn specs(outlets: &[Outlet]) -> Vec<Option<TensorSpec>> {
    let spec = |outlet: &Outlet| {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return None };
        let element = match ty {
            TensorElementType::Float32 => ElementType::F32,
            TensorElementType::Float64 => ElementType::F64,
            TensorElementType::Int64 => ElementType::I64,
            TensorElementType::Bool => ElementType::Bool,
            TensorElementType::String => ElementType::Text,
            _ => return None,
        };
        // A fixed number of rows cannot be fed batches.
        let (rows, sizes) = shape.split_first()?;
        (*rows < 0)
            .then(|| TensorSpec::dynamic(outlet.name(), element, sizes.iter().map(|size| usize::try_from(*size).ok())))
    };
    outlets.iter().map(spec).collect()
}

/// Inputs or outputs as people write them: `"features" f32 [n, 18]`.
fn shown(outlets: &[Outlet]) -> String {
    let one = |(outlet, spec): (&Outlet, Option<TensorSpec>)| match spec {
        Some(spec) => spec.to_string(),
        None => format!("\"{}\" {}", outlet.name(), outlet.dtype()),
    };
    outlets.iter().zip(specs(outlets)).map(one).collect::<Vec<_>>().join(", ")
}
