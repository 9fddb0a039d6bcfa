//! A model on a model server, which is checked before the job starts and then called for each batch.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_engine::call_span::CallSpan;
use tidemill_engine::metrics::OperatorMetrics;

use super::breaker::Circuit;
use super::call::{CallError, Caller, ServerCounts};
use super::check::{check, listed};
use super::protocol::{Protocol, Target};
use super::settings::{ServerSettings, ServerUrl};
use crate::infer::{
    Backend, ElementType, Elements, Features, ModelError, ModelInfo, ModelSource, RunError, Tensor, TensorSpec,
};
use tidemill_engine::threads;

/// A model on a model server. It is cheap to clone; all clones share one circuit breaker and one limit of concurrent
/// calls.
///
/// Addresses are `oip+grpc://host:port/model` and `oip+http://…` (Open Inference Protocol: Triton, MLServer, KServe),
/// `tfs+grpc://…` and `tfs+http://…` (TensorFlow Serving), each optionally followed by `/version`.
/// * Shapes: as the program declares them; each batch is sent as `[rows, shape…]`.
/// * Time: a batch takes [`ServerSettings::deadline`] at most, whatever the server does.
/// * Errors while the job runs: a batch that the server rejects (status 400) is bisected, so that only the records at
///   fault fail; every other error is [`RunError::Unavailable`], and the batch goes to the fallback.
///
/// See `docs/inference/model-servers.md`.
#[derive(Clone)]
pub struct ServedModel {
    info: ModelInfo,
    target: Target,
    column: usize,
    /// The number of rows that every run must have, if the model accepts only one.
    rows: Option<usize>,
    caller: Arc<Caller>,
}

impl ServedModel {
    /// Waits until the server is ready ([`ServerSettings::start_timeout`]) and checks that the model has exactly these
    /// inputs, and at least these outputs.
    ///
    /// A server that does not describe its models (some servers with the protocol of TensorFlow Serving) must score one
    /// row of zeros instead.
    ///
    /// # Errors
    /// Fails when the address or the settings are wrong, the server is not ready in time, or the model does not fit. If
    /// the model does not fit, the error shows what the model has and what the program wants.
    pub fn connect(
        url: &str,
        inputs: impl IntoIterator<Item = TensorSpec>,
        outputs: impl IntoIterator<Item = TensorSpec>,
        settings: &ServerSettings,
    ) -> Result<Self, ModelError> {
        let unusable = |reason: String| ModelError::Unusable { model: url.to_owned(), reason };
        let (inputs, outputs) = (inputs.into_iter().collect(), outputs.into_iter().collect());
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(unusable(format!("settings that cannot work: {}", faults.join("; "))));
        }
        let parsed: ServerUrl = url.parse().map_err(unusable)?;
        let target = Target { url: parsed, settings: settings.clone(), inputs, outputs };
        let mut client = target.open().map_err(unusable)?;
        let (version, rows) = wait_until_ready(&mut *client, &target)?;
        let version = target.url.version.clone().or(version).unwrap_or_else(|| "unversioned".to_owned());
        Ok(Self {
            info: ModelInfo::new(&target.url.model, version),
            caller: Arc::new(Caller::new(target.url.to_string(), settings.clone())),
            target,
            column: 0,
            rows,
        })
    }

    /// Connects to a model that takes the features `F` as `input`, f32 `[n, features]`. The score of a row is column
    /// `column` of `output`, f32 `[n, columns]`. Servers do not know the names of features, so their order is not
    /// checked.
    ///
    /// # Errors
    /// Fails as [`connect`](Self::connect) does, and when `column` is not below `columns`.
    pub fn scoring<F: Features>(
        url: &str,
        input: &str,
        (output, columns, column): (&str, usize, usize),
        settings: &ServerSettings,
    ) -> Result<Self, ModelError> {
        if column >= columns {
            let reason = format!("column {column} of {columns} was asked for");
            return Err(ModelError::Unusable { model: url.to_owned(), reason });
        }
        let input = TensorSpec::fixed(input, ElementType::F32, [F::NAMES.len()]);
        let output = TensorSpec::fixed(output, ElementType::F32, [columns]);
        Ok(Self { column, ..Self::connect(url, [input], [output], settings)? })
    }

    /// Returns the address of a version of this model on the same server.
    pub(super) fn address_of(&self, version: NonZeroU64) -> String {
        ServerUrl { version: Some(version.to_string()), ..self.target.url.clone() }.to_string()
    }

    /// Asks the server for the versions of this model, as it writes them.
    pub(super) fn listed_versions(&self) -> Result<Vec<String>, ModelError> {
        let failed = |reason: String| ModelError::unavailable(&self.target.url.to_string(), reason);
        let url = ServerUrl { version: None, ..self.target.url.clone() };
        let mut client = Target { url, ..self.target.clone() }.open().map_err(failed)?;
        let deadline = threads::now() + PATIENCE.max(self.target.settings.deadline);
        let found = client.describe(deadline).map_err(|error| failed(error.to_string()))?;
        Ok(found.map(|found| found.versions).unwrap_or_default())
    }

    /// Connects to a model that stands in for this one. `info` names it; its hash becomes the host and port, since nobody
    /// knows its file.
    pub(super) fn elsewhere(&self, url: &str, info: ModelInfo) -> Result<Self, ModelError> {
        let Target { settings, inputs, outputs, .. } = &self.target;
        let other = Self::connect(url, inputs.iter().cloned(), outputs.iter().cloned(), settings)?;
        let info = ModelInfo { hash: other.target.url.authority.clone(), ..info };
        Ok(Self { info, column: self.column, ..other })
    }

    /// Returns the counts of all clients of this model in this process so far.
    #[must_use]
    pub fn counts(&self) -> ServerCounts {
        self.caller.state().1
    }

    /// Returns the state of the circuit breaker.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.caller.state().0
    }
}

/// The pause before the server is asked again whether it is ready.
const AGAIN: Duration = Duration::from_millis(100);
/// The minimum timeout of a request before the job starts: some servers load a model at the first request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The model's version, and the number of rows that every run must have, where the server reports them.
type Reported = (Option<String>, Option<usize>);

/// Waits until the server is ready, and checks its description of the model. Fails when the model does not fit.
fn wait_until_ready(client: &mut dyn Protocol, target: &Target) -> Result<Reported, ModelError> {
    let give_up = threads::now() + target.settings.start_timeout;
    loop {
        let error = match try_once(client, target) {
            Ok(result) => return result,
            Err(error) => error,
        };
        let unknown = matches!(error, CallError::Unimplemented(_));
        if threads::now() + AGAIN >= give_up {
            let waited = target.settings.start_timeout;
            let advice =
                if unknown { "Is the model's name right, and does the server use this protocol?" } else { "Is it up?" };
            let reason = format!("{error}. Tried again for {waited:?}. {advice}");
            return Err(ModelError::unavailable(&target.url.to_string(), reason));
        }
        threads::pause(AGAIN);
    }
}

/// Asks the server once. The outer error means that it should be asked again later.
fn try_once(client: &mut dyn Protocol, target: &Target) -> Result<Result<Reported, ModelError>, CallError> {
    let deadline = || threads::now() + PATIENCE.max(target.settings.deadline);
    client.ready(deadline())?;
    let model = target.url.to_string();
    match client.describe(deadline())? {
        Some(found) => {
            let fits = check(&model, &found, &target.inputs, &target.outputs);
            Ok(fits.map(|rows| (found.versions.last().cloned(), rows)))
        }
        None => Ok(match score_zeros(client, target, deadline()) {
            Ok(()) => Ok((None, None)),
            Err(CallError::Unavailable(reason)) => return Err(CallError::Unavailable(reason)),
            Err(error) => Err(ModelError::Schema {
                model,
                found: format!("it does not describe its models, and a row of zeros fails: {error}"),
                program: format!("{} in, {} out", listed(&target.inputs), listed(&target.outputs)),
            }),
        }),
    }
}

fn score_zeros(client: &mut dyn Protocol, target: &Target, deadline: Instant) -> Result<(), CallError> {
    let zeros = |spec: &TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().map(|size| size.unwrap_or(1)).collect();
        let len = shape.iter().product();
        let elements = Elements::zeros(spec.element, len);
        Tensor { shape, elements }
    };
    let inputs: Vec<Tensor> = target.inputs.iter().map(zeros).collect();
    let mut outputs: Vec<Tensor> = target.outputs.iter().map(Tensor::empty).collect();
    client.infer(1, &inputs, &mut outputs, deadline)
}

impl ModelSource for ServedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.target.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.target.outputs
    }

    fn score_column(&self) -> usize {
        self.column
    }

    fn batch_rows(&self) -> Option<usize> {
        self.rows
    }

    fn blocks(&self) -> bool {
        true
    }

    fn tries_again(&self) -> bool {
        true
    }

    fn meter(&self, metrics: &OperatorMetrics) {
        self.caller.meter(metrics);
    }

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        let failed = |reason: String| ModelError::unavailable(&self.target.url.to_string(), reason);
        let client = self.target.open().map_err(failed)?;
        Ok(Box::new(Served { client, caller: Arc::clone(&self.caller), target: self.target.url.clone() }))
    }
}

/// The client of one thread.
struct Served {
    client: Box<dyn Protocol>,
    caller: Arc<Caller>,
    target: ServerUrl,
}

impl Backend for Served {
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        let Self { client, caller, target } = self;
        let mut tries = 0;
        caller.run(|deadline| {
            let mut span = CallSpan::begin("infer");
            span.number("tidemill.batch.records", rows);
            span.text("tidemill.model", || target.model.clone());
            if let Some((host, port)) = target.authority.rsplit_once(':') {
                span.text("server.address", || host.to_owned());
                span.number("server.port", port.parse().unwrap_or_default());
            }
            span.number("tidemill.retry", tries);
            tries += 1;
            let result = client.infer(rows, inputs, outputs, deadline);
            if let Err(error) = &result {
                span.failed(error.kind(), || error.to_string());
            }
            result
        })
    }
}
