//! An ONNX model: loaded, named by its hash, and checked against the feature spec before the job runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::value::{TensorElementType, TensorRef, ValueType};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::features::Features;

/// Which model made a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The model's name: its metadata's, or the file's.
    pub name: String,
    /// The first 16 hexadecimal digits of the SHA-256 of its file.
    pub hash: String,
}

impl std::fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.hash)
    }
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the model \"{}\"", .path.display())]
    Read {
        /// The model's file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// ONNX Runtime itself cannot be loaded.
    #[error(
        "cannot load ONNX Runtime from \"{path}\": {reason}; set ORT_DYLIB_PATH to libonnxruntime.so 1.24 or later (`cargo xtask setup` fetches one)"
    )]
    NoRuntime {
        /// Where it was looked for.
        path: String,
        /// The loader's reason.
        reason: String,
    },
    /// ONNX Runtime refused.
    #[error("ONNX Runtime could not {what} the model \"{}\"", .path.display())]
    Runtime {
        /// What was tried.
        what: &'static str,
        /// The model's file.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: ort::Error,
    },
    /// The model does not fit the features.
    #[error("model \"{}\" does not fit the features\n  the model:   {model}\n  the program: {program}", .path.display())]
    Schema {
        /// The model's file.
        path: PathBuf,
        /// What the model takes.
        model: String,
        /// What the program gives.
        program: String,
    },
    /// The model has no such output.
    #[error("model \"{}\" has no output \"{wanted}\" of scores: it has {found}", .path.display())]
    Output {
        /// The model's file.
        path: PathBuf,
        /// The output asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
}

/// ONNX Runtime, loaded once: it allows one environment in a process.
fn environment() -> Result<&'static Environment, ModelError> {
    static ENVIRONMENT: OnceLock<Result<Environment, (String, String)>> = OnceLock::new();
    let loaded = ENVIRONMENT.get_or_init(|| {
        let path = std::env::var("ORT_DYLIB_PATH").unwrap_or_else(|_| "libonnxruntime.so".to_owned());
        let environment = ort::init_from(&path).map_err(|error| error.to_string());
        environment
            .and_then(|builder| builder.build().map_err(|error| error.to_string()))
            .map_err(|error| (path, error))
    });
    loaded.as_ref().map_err(|(path, reason)| ModelError::NoRuntime { path: path.clone(), reason: reason.clone() })
}

/// A loaded and checked model. Cheap to clone; every worker makes its own session of it.
#[derive(Clone, Debug)]
pub struct Model {
    path: PathBuf,
    bytes: Arc<[u8]>,
    info: ModelInfo,
    width: usize,
    input: String,
    output: String,
    column: usize,
    /// The session the model was checked with, for the first worker: loading a large one takes seconds.
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
        let bytes: Arc<[u8]> =
            std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.into();
        let hash = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut model = Self {
            path: path.to_owned(),
            bytes,
            info: ModelInfo { name: stem, hash },
            width: F::NAMES.len(),
            input: String::new(),
            output: output.to_owned(),
            column,
            checked: Arc::default(),
        };
        let session = model.session()?;
        model.check_input(&session, F::NAMES)?;
        model.check_output(&session)?;
        let named = session.metadata().map_err(model.runtime("read the metadata of"))?.custom("model_name");
        model.info.name = named.unwrap_or(model.info.name);
        *model.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(model)
    }

    /// Which model this is.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn runtime(&self, what: &'static str) -> impl Fn(ort::Error) -> ModelError + use<> {
        let path = self.path.clone();
        move |source| ModelError::Runtime { what, path: path.clone(), source }
    }

    fn session(&self) -> Result<Session, ModelError> {
        let failed = self.runtime("load");
        let builder = Session::builder(environment()?).map_err(&failed)?;
        // A worker is a thread of its own: ONNX Runtime adds none.
        let mut builder = builder.with_intra_threads(1).map_err(|e| failed(e.into()))?;
        builder.commit_from_memory(&self.bytes).map_err(&failed)
    }

    fn check_input(&mut self, session: &Session, names: &[&str]) -> Result<(), ModelError> {
        let given = format!("one input, f32 [n, {}]: {}", names.len(), names.join(", "));
        let mismatch = |model: String| ModelError::Schema { path: self.path.clone(), model, program: given.clone() };
        let [input] = session.inputs() else {
            let all: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
            return Err(mismatch(format!("{} inputs: {}", all.len(), all.join(", "))));
        };
        let metadata = session.metadata().map_err(self.runtime("read the metadata of"))?;
        let trained_on = metadata.custom("feature_names");
        let width = names.len() as i64;
        let fits = matches!(input.dtype(), ValueType::Tensor { ty: TensorElementType::Float32, shape, .. }
            if shape.len() == 2 && (shape[1] == width || shape[1] == -1) && shape[0] == -1);
        let same_names =
            trained_on.as_ref().is_none_or(|known| known.split(',').map(str::trim).eq(names.iter().copied()));
        if !fits || !same_names {
            let (name, dtype) = (input.name(), shown(input.dtype()));
            let names = trained_on.map(|known| format!(": {}", known.replace(',', ", "))).unwrap_or_default();
            return Err(mismatch(format!("input \"{name}\", {dtype}{names}")));
        }
        self.input = input.name().to_owned();
        Ok(())
    }

    fn check_output(&self, session: &Session) -> Result<(), ModelError> {
        let fits = session.outputs().iter().any(|output| {
            output.name() == self.output
                && matches!(output.dtype(), ValueType::Tensor { ty: TensorElementType::Float32, .. })
        });
        if fits {
            return Ok(());
        }
        let found: Vec<String> = session
            .outputs()
            .iter()
            .map(|output| format!("\"{}\" ({})", output.name(), shown(output.dtype())))
            .collect();
        Err(ModelError::Output { path: self.path.clone(), wanted: self.output.clone(), found: found.join(", ") })
    }

    /// A session of one worker, warmed up with a full batch.
    pub(crate) fn open(&self, max_batch_size: usize) -> Result<Scorer, ModelError> {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let session = checked.map_or_else(|| self.session(), Ok)?;
        let mut scorer = Scorer { session, model: self.clone() };
        let warm_up = vec![0.0; max_batch_size * self.width];
        let mut scores = Vec::new();
        for rows in [1, max_batch_size] {
            scorer.score(&warm_up[..rows * self.width], &mut scores).map_err(self.runtime("warm up"))?;
        }
        Ok(scorer)
    }
}

/// A type as people write it: `f32 [n, 18]`.
fn shown(dtype: &ValueType) -> String {
    let ValueType::Tensor { ty, shape, .. } = dtype else { return format!("{dtype:?}") };
    let sizes: Vec<String> =
        shape.iter().map(|size| if *size < 0 { "n".to_owned() } else { size.to_string() }).collect();
    let ty = match ty {
        TensorElementType::Float32 => "f32".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    format!("{ty} [{}]", sizes.join(", "))
}

/// A model as one worker uses it.
pub(crate) struct Scorer {
    session: Session,
    model: Model,
}

impl Scorer {
    pub(crate) fn width(&self) -> usize {
        self.model.width
    }

    /// Scores rows of features, `[n, width]`, appending one score per row.
    pub(crate) fn score(&mut self, features: &[f32], scores: &mut Vec<f32>) -> Result<(), ort::Error> {
        let Model { width, input, output, column, .. } = &self.model;
        let rows = features.len() / width;
        let tensor = TensorRef::from_array_view(([rows, *width], features))?;
        let outputs = self.session.run(ort::inputs![input.as_str() => tensor])?;
        let wrong = |what: String| ort::Error::new(what);
        let value = outputs.get(output.as_str()).ok_or_else(|| wrong(format!("no output \"{output}\"")))?;
        let (shape, values) = value.try_extract_tensor::<f32>()?;
        let columns = values.len() / rows.max(1);
        if columns * rows != values.len() || *column >= columns {
            return Err(wrong(format!(
                "output \"{output}\" has shape {shape:?} for {rows} rows; column {column} was asked for"
            )));
        }
        scores.extend(values.iter().skip(*column).step_by(columns));
        Ok(())
    }
}
