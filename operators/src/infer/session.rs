//! A session of ONNX Runtime as a backend, and the execution providers on which it runs.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Shape, Tensor as OnnxTensor, TensorRef};
use serde::{Deserialize, Serialize};

use super::backend::{Backend, RunError};
use super::element::{Elements, each_number};
use super::engine::Engine;
use super::error::ModelError;
use super::external::Weights;
use super::onnx_log;
use super::runtime::environment;
use super::tensor::{Tensor, TensorSpec};

/// Settings for running a model in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// The execution providers, in order of preference; default: the CPU alone. Each operation of the model runs on the
    /// first provider that has a kernel for it, and otherwise on the CPU.
    pub providers: Vec<Provider>,
    /// Number of threads for one run; default 1, because workers and inference threads already run in parallel.
    pub intra_threads: NonZeroUsize,
    /// What runs the model; default: whichever is faster.
    pub engine: Engine,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { providers: Vec::new(), intra_threads: NonZeroUsize::MIN, engine: Engine::Auto }
    }
}

/// An execution provider of ONNX Runtime. The loaded library must have been built with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Provider {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda {
        /// The device id of the GPU.
        device: i32,
    },
    /// An NVIDIA GPU with TensorRT, which compiles the model for the GPU when it is loaded.
    TensorRt {
        /// The device id of the GPU.
        device: i32,
    },
    /// Intel's CPUs, GPUs and NPUs.
    OpenVino {
        /// The device type: `CPU`, `GPU`, `NPU`, `AUTO`, …
        device: String,
    },
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("the CPU"),
            Self::Cuda { device } => write!(f, "CUDA (device {device})"),
            Self::TensorRt { device } => write!(f, "TensorRT (device {device})"),
            Self::OpenVino { device } => write!(f, "OpenVINO ({device})"),
        }
    }
}

impl Provider {
    fn is_built_in(&self) -> bool {
        let known = match self {
            Self::Cpu => Ok(true),
            Self::Cuda { .. } => ep::CUDA::is_available(),
            Self::TensorRt { .. } => ep::TensorRT::is_available(),
            Self::OpenVino { .. } => ep::OpenVINO::is_available(),
        };
        known.unwrap_or(false)
    }

    fn dispatch(&self) -> ExecutionProviderDispatch {
        let provider = match self {
            Self::Cpu => ep::CPU::default().build(),
            Self::Cuda { device } => ep::CUDA::default().with_device_id(*device).build(),
            Self::TensorRt { device } => ep::TensorRT::default().with_device_id(*device).build(),
            Self::OpenVino { device } => ep::OpenVINO::default().with_device_type(device).build(),
        };
        provider.error_on_failure()
    }

    /// Returns the names of the providers with which the loaded ONNX Runtime was built.
    fn available() -> String {
        let all = [
            ("CPU", Self::Cpu),
            ("CUDA", Self::Cuda { device: 0 }),
            ("TensorRT", Self::TensorRt { device: 0 }),
            ("OpenVINO", Self::OpenVino { device: String::new() }),
        ];
        all.iter().filter(|(_, p)| p.is_built_in()).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Creates a session of the model in `bytes`, which were read from `path`.
pub(super) fn build(
    path: &Path,
    bytes: &[u8],
    weights: &Weights,
    settings: &SessionSettings,
) -> Result<Session, ModelError> {
    let failed = |source| ModelError::Runtime { what: "load", path: path.to_owned(), source };
    let mut builder = Session::builder(environment()?).map_err(failed)?;
    for provider in &settings.providers {
        let no_provider = |reason: String| ModelError::NoProvider {
            path: path.to_owned(),
            wanted: provider.to_string(),
            reason,
            available: Provider::available(),
        };
        if !provider.is_built_in() {
            return Err(no_provider("this ONNX Runtime was built without it".to_owned()));
        }
        // A built-in provider may still fail: its own libraries and the device must be present.
        provider.dispatch().register(&mut builder).map_err(|error| no_provider(error.to_string()))?;
    }
    let builder = builder.with_intra_threads(settings.intra_threads.get()).map_err(|e| failed(e.into()))?;
    let mut builder = builder.with_log_id(path.display().to_string()).map_err(|e| failed(e.into()))?;
    if weights.is_empty() {
        return builder.commit_from_memory(bytes).map_err(failed);
    }
    // The model is read from its file, because weights may be larger than memory and ONNX Runtime maps them.
    weights.check(path)?;
    let session = builder.commit_from_file(path).map_err(failed)?;
    weights.check(path)?;
    Ok(session)
}

/// A session, with the mapping between its inputs and outputs and those of the program.
pub(super) struct OnnxBackend {
    session: Session,
    /// For each input of the session, the index of the program's input.
    inputs: Vec<usize>,
    /// For each output of the program, its name.
    outputs: Vec<String>,
    /// The options that select the program's outputs, so that ONNX Runtime need not compute others.
    options: RunOptions<HasSelectedOutputs>,
}

impl OnnxBackend {
    pub(super) fn new(session: Session, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> ort::Result<Self> {
        let place = |name: &str| inputs.iter().position(|spec| spec.name == name).unwrap_or(usize::MAX);
        let inputs = session.inputs().iter().map(|input| place(input.name())).collect();
        let selected = outputs.iter().fold(OutputSelector::no_default(), |all, spec| all.with(&spec.name));
        let options = RunOptions::new()?.with_tag(onnx_log::RUN)?.with_outputs(selected);
        let outputs = outputs.iter().map(|spec| spec.name.clone()).collect();
        Ok(Self { session, inputs, outputs, options })
    }

    pub(super) fn into_session(self) -> Session {
        self.session
    }
}

/// Classifies an error of a run as caused by the data, since only ONNX Runtime knows whether it is.
fn batch_error(error: ort::Error) -> RunError {
    RunError::Batch(format!("ONNX Runtime: {error}"))
}

impl Backend for OnnxBackend {
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        let mut values = Vec::with_capacity(self.inputs.len());
        for place in &self.inputs {
            let missing = || RunError::Unavailable("the program does not give all inputs of the model".to_owned());
            let input = inputs.get(*place).ok_or_else(missing)?;
            values.push(view(rows, input).map_err(batch_error)?);
        }
        let found = self.session.run_with_options(&values[..], &self.options).map_err(batch_error)?;
        for (name, output) in self.outputs.iter().zip(outputs) {
            let value = found.get(name).ok_or_else(|| RunError::Batch(format!("the model gave no \"{name}\"")))?;
            copy(name, value, rows, output)?;
        }
        Ok(())
    }
}

/// Returns an input of the session; only strings are copied.
fn view(rows: usize, input: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    let shape = Shape::new(std::iter::once(rows).chain(input.shape.iter().copied()).map(|size| size as i64));
    macro_rules! view {
        ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
            match &input.elements {
                $(Elements::$variant(values) => TensorRef::from_array_view((shape, &values[..]))?.into(),)+
                Elements::Text(values) => OnnxTensor::from_string_array((shape, &values[..]))?.into(),
            }
        };
    }
    Ok(each_number!(view))
}

fn copy(name: &str, value: &DynValue, rows: usize, output: &mut Tensor) -> Result<(), RunError> {
    let dimensions = value.shape();
    if dimensions.first().and_then(|found| usize::try_from(*found).ok()) != Some(rows) {
        return Err(RunError::Batch(format!("the model gave \"{name}\" as {dimensions:?} for {rows} rows")));
    }
    output.shape.clear();
    output.shape.extend(dimensions.iter().skip(1).map(|size| usize::try_from(*size).unwrap_or(0)));
    macro_rules! refill {
        ($(($what:literal, $variant:ident, $value:ident, $onnx:ident, $datatype:literal)),+ $(,)?) => {
            match &mut output.elements {
                $(Elements::$variant(to) => refill(to, value.try_extract_tensor().map_err(batch_error)?.1),)+
                Elements::Text(to) => *to = value.try_extract_strings().map_err(batch_error)?.1,
            }
        };
    }
    each_number!(refill);
    Ok(())
}

fn refill<T: Copy>(to: &mut Vec<T>, from: &[T]) {
    to.clear();
    to.extend_from_slice(from);
}
