//! Models in files, which are loaded, identified by a hash, and checked against the program before the job runs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ort::session::Session;
use sha2::{Digest, Sha256};

use super::backend::{Backend, ModelInfo, ModelSource};
use super::element::ElementType;
use super::engine::{Choice, Engine, choose};
use super::error::ModelError;
use super::export::export_any_rows;
use super::features::Features;
use super::field::FeatureKind;
use super::file::{ModelFile, Read, hex};
use super::manifest::Manifest;
use super::onnx_log;
use super::outlets::{Declaration, Declared, Found, rows_of, shown};
use super::session::{OnnxBackend, SessionSettings};
use super::spec::{FEATURES, FeatureRules};
use super::tensor::TensorSpec;
use super::trees::{FEATURES_SHA256, Program};
use tidemill_engine::locks::lock;

/// A model in a file, which has been loaded and checked. It is cheap to clone; every thread that scores opens its own
/// session.
#[derive(Clone, Debug)]
pub struct Model {
    file: ModelFile,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    column: usize,
    /// The rules of its `features.json`.
    rules: Option<Arc<FeatureRules>>,
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

impl Model {
    /// Loads the model at `path` and checks that it takes the features `F`, in their order. The score of a row is
    /// column `column` of the output `output`, f32 `[n]` or `[n, columns]`.
    ///
    /// The file is an ONNX model, or a model of LightGBM (text) or XGBoost (JSON). The outputs of the latter two are
    /// `prediction`, what the library predicts, and `raw`, the sum over the trees.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is not a model, or when inputs or outputs do not fit. If they do not fit,
    /// the error shows what the model has and what the program wants.
    pub fn load<F: Features>(path: &Path, output: &str, column: usize) -> Result<Self, ModelError> {
        Self::load_with::<F>(path, output, column, &SessionSettings::default())
    }

    /// Loads a model like [`load`](Self::load), with settings: what runs it, execution providers, threads.
    ///
    /// # Errors
    /// Fails as [`load`](Self::load) does, and when an execution provider is not available.
    pub fn load_with<F: Features>(
        path: &Path,
        output: &str,
        column: usize,
        settings: &SessionSettings,
    ) -> Result<Self, ModelError> {
        Self::load_as::<F>(path, output, column, settings, None, None)
    }

    /// Loads a model of which a repository states name, version and hashes.
    pub(super) fn load_as<F: Features>(
        path: &Path,
        output: &str,
        column: usize,
        settings: &SessionSettings,
        stated: Option<&Manifest>,
        features: Option<(&Path, &[u8])>,
    ) -> Result<Self, ModelError> {
        let (mut model, read) = Self::read(path, settings, stated)?;
        let Declared { inputs, outputs, feature_names: trained_on, .. } = &read.declared;
        model.rules = model.rules_for::<F>(&read.declared, features)?.map(Arc::new);
        let columns: Vec<&str> = match &model.rules {
            Some(rules) => rules.columns().iter().map(String::as_str).collect(),
            None => F::NAMES.to_vec(),
        };
        let row = TensorSpec::fixed("", ElementType::F32, [columns.len()]);
        let names = columns.join(", ");
        let same_names = trained_on.as_ref().is_none_or(|known| known.iter().eq(&columns));
        match inputs.iter().map(|input| &input.found).collect::<Vec<_>>()[..] {
            [Some(Found { spec, .. })] if spec.fits(&row) && same_names => {
                model.inputs = vec![TensorSpec { name: spec.name.clone(), ..row }]
            }
            _ => {
                let names_known = trained_on.as_ref().map(|known| format!(": {}", known.join(", ")));
                return Err(ModelError::Schema {
                    model: model.file.shown(),
                    found: format!("{}{}", shown(inputs), names_known.unwrap_or_default()),
                    program: format!("one input, f32 [n, {}]: {names}", columns.len()),
                });
            }
        }
        let scores = outputs
            .iter()
            .filter_map(|output| output.found.as_ref().map(|found| &found.spec))
            .find(|found| found.name == output && found.element == ElementType::F32 && found.shape.len() <= 1);
        let Some(scores) = scores.cloned() else {
            let wanted = format!("\"{output}\" of scores, f32 [n] or [n, columns]");
            return Err(model.file.no_output(read, output, wanted));
        };
        if let [Some(columns)] = scores.shape[..]
            && column >= columns
        {
            let wanted = format!("\"{output}\" with a column {column}");
            return Err(ModelError::Output { model: model.file.shown(), wanted, found: scores.to_string() });
        }
        model.outputs = vec![scores];
        model.column = column;
        model.keep(read)
    }

    /// Reads the rules beside the model, which have to be those that it was exported with.
    fn rules_for<F: Features>(
        &self,
        declared: &Declared,
        features: Option<(&Path, &[u8])>,
    ) -> Result<Option<FeatureRules>, ModelError> {
        let Some((path, bytes)) = features else {
            if let Some(sha256) = &declared.features_sha256 {
                let reason = format!("it was exported with the {FEATURES} {sha256}, which is not beside it");
                return Err(self.file.unusable(reason));
            }
            return match F::NAMES.iter().zip(F::KINDS).find(|(_, kind)| **kind != FeatureKind::Number) {
                Some((name, kind)) => Err(self.file.unusable(format!(
                    "the program's feature {name} is a {kind}: that takes a model of a repository with a {FEATURES}, which \
                     says how it becomes numbers"
                ))),
                None => Ok(None),
            };
        };
        let fails = |reason| ModelError::Unusable { model: path.display().to_string(), reason };
        let input = declared.inputs.first().map_or("", |input| &input.name);
        let rules = FeatureRules::read::<F>(bytes, hex(&Sha256::digest(bytes)), input).map_err(fails)?;
        match &declared.features_sha256 {
            Some(stated) if !stated.eq_ignore_ascii_case(rules.sha256()) => Err(fails(format!(
                "its SHA-256 is {}, and the model was exported with {stated}: it was changed, or is that of another model",
                rules.sha256()
            ))),
            Some(_) => Ok(Some(rules)),
            // The hash of the model's file has to stand for the rules as well: it is what the control log names.
            None => Err(fails(format!(
                "the model does not state its SHA-256 as \"{FEATURES_SHA256}\" in its metadata: export it as ONNX by the Python \
                 package, and not as a file of XGBoost or LightGBM"
            ))),
        }
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
        let (mut model, read) = Self::read(path, settings, None)?;
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
                model: model.file.shown(),
                found: shown(&declared.inputs),
                program: program.join(", "),
            });
        }
        if let Some(missing) = outputs.iter().find(|wanted| !has(&outputs_found, wanted)) {
            return Err(model.file.no_output(read, &missing.name, missing.to_string()));
        }
        if outputs.is_empty() {
            return Err(model.file.unusable("no output was asked for: name at least one"));
        }
        model.inputs = inputs;
        model.outputs = outputs;
        model.keep(read)
    }

    /// Returns the name and the hash of the model.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.file.info
    }

    /// Reads the file. The caller checks inputs and outputs.
    fn read(path: &Path, settings: &SessionSettings, stated: Option<&Manifest>) -> Result<(Self, Read), ModelError> {
        let (file, read) = ModelFile::read(path, settings, stated)?;
        let rows = rows_of(&read.declared.inputs).map_err(|reason| file.unusable(reason))?;
        let model = Self {
            file,
            inputs: Vec::new(),
            outputs: Vec::new(),
            column: 0,
            rules: None,
            rows,
            forest: None,
            choice: Choice { engine: Engine::OnnxRuntime, reason: String::new() },
            warned: Arc::default(),
            checked: Arc::default(),
        };
        Ok((model, read))
    }

    /// Chooses what runs the model, now that its outputs are known.
    fn keep(mut self, read: Read) -> Result<Self, ModelError> {
        let Read { session, forest, .. } = read;
        let trees = forest.as_ref().ok().map(|forest| forest.trees());
        let walked = forest.and_then(|forest| {
            let backend = forest.backend(&self.outputs).ok_or_else(|| "an output is not one of the forest".to_owned());
            backend.map(|backend| (forest, backend))
        });
        self.choice = match (session, walked) {
            (None, Ok((forest, _))) => {
                self.forest = Some(forest);
                let reason = match self.file.settings.engine {
                    _ if self.file.is_of_library => "it is a file of XGBoost or LightGBM",
                    Engine::Trees => "the settings ask for it",
                    _ => "ONNX Runtime's library was not found",
                };
                Choice { engine: Engine::Trees, reason: reason.to_owned() }
            }
            (None, Err(reason)) => return Err(self.file.unusable(reason)),
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
        let (Choice { engine, reason }, model) = (&self.choice, self.file.shown());
        match trees {
            Some(trees) => tracing::info!(model, trees, %engine, reason, "what runs the ensemble of trees was chosen"),
            None => tracing::debug!(model, %engine, reason, "what runs the model was chosen"),
        }
        Ok(self)
    }

    fn backend(&self, session: Session) -> Result<OnnxBackend, ModelError> {
        OnnxBackend::new(session, &self.inputs, &self.outputs).map_err(self.file.runtime("set up runs of"))
    }
}

impl ModelSource for Model {
    fn info(&self) -> &ModelInfo {
        &self.file.info
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn rules(&self) -> Option<&Arc<FeatureRules>> {
        self.rules.as_ref()
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
            let backend = forest.backend(&self.outputs);
            return Ok(Box::new(backend.ok_or_else(|| self.file.unusable("it has other outputs"))?));
        }
        let checked = lock(&self.checked).take();
        let session = checked.map_or_else(|| self.file.session(), Ok)?;
        onnx_log::catch_up();
        if let Some(rows) = self.rows
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            let advice = export_any_rows(self.inputs.first().map_or("input", |input| &input.name));
            tracing::warn!(model = %self.file.path.display(), rows, "the model takes exactly this number of rows at a time. {advice}");
        }
        Ok(Box::new(self.backend(session)?))
    }
}
