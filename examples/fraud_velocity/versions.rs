//! The model on the command line: a file, or versions of a repository that take turns in event time.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tidemill::control::ChangeRequest;
use tidemill::drift::Baselines;
use tidemill::infer::{FeatureRules, ModelRef, ModelRepository, ModelSource as _, SessionSettings};
use tidemill::prelude::*;

use crate::features::FraudFeatures;
use common::shipped_model;

const OUTPUT: &str = "probabilities";
const COLUMN: usize = 1;

/// The flags of the model.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// The model.
    #[arg(long, default_value_os_t = shipped_model("fraud_velocity.onnx"), value_name = "FILE")]
    model: PathBuf,
    /// A model repository, whose model scores instead of --model: a folder, or MLflow's registry
    /// (mlflow+http://host:port). The job can be told to use other versions of it while it runs.
    #[arg(long, conflicts_with = "model", value_name = "DIR|MLFLOW")]
    models: Option<String>,
    /// Folder that versions of MLflow's registry are fetched into.
    #[cfg(feature = "model-servers")]
    #[arg(long, requires = "models", default_value = "models-of-registry", value_name = "DIR")]
    model_cache: PathBuf,
    /// The model in the repository: NAME for its latest version, NAME/3, or NAME@champion.
    #[arg(long, requires = "models", default_value = "fraud_velocity", value_name = "NAME")]
    use_model: ModelRef,
    /// Further models of the repository, each with the event time from which it scores.
    #[arg(long, requires = "models", value_name = "NAME=TIME")]
    switch: Vec<Switch>,
}

/// A model and the event time from which it scores.
#[derive(Clone, Debug)]
struct Switch {
    model: ModelRef,
    from: EventTime,
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((model, from)) = text.split_once('=') else {
            return Err("write the model and a time, like fraud_velocity/2=2018-05-01T00:00:00Z".to_owned());
        };
        Ok(Self { model: model.parse()?, from: EventTime::parse(from).map_err(|error| error.to_string())? })
    }
}

/// A version that is to be rolled out, and the file of its settings.
#[derive(Clone, Debug)]
pub struct Wanted {
    model: String,
    settings: Option<PathBuf>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, settings) = text.split_once('=').map_or((text, None), |(model, file)| (model, Some(file.into())));
        model.parse::<ModelRef>()?;
        Ok(Self { model: model.to_owned(), settings })
    }
}

impl Wanted {
    /// Returns the source of the request, which is made once, however often the job starts.
    pub fn request(&self) -> Result<Generator<ChangeRequest>, JobError> {
        let Self { model, settings } = self;
        let settings = settings.as_ref().map_or_else(
            || Ok(json!({})),
            |path| {
                let invalid = |error: String| JobError::Invalid(format!("--rollout: \"{}\": {error}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
                serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))
            },
        )?;
        let request = ChangeRequest {
            id: format!("rollout of {model}"),
            operator: "score".to_owned(),
            change: json!({ "rollout": { "model": model, "settings": settings } }),
            by: "the command line".to_owned(),
            reason: String::new(),
        };
        Ok(vec_source(vec![(EventTime::MIN, request)]))
    }
}

impl ModelArgs {
    #[cfg(feature = "model-servers")]
    fn repository(&self, root: &str) -> Result<ModelRepository, JobError> {
        Ok(match root.strip_prefix("mlflow+") {
            Some(url) => ModelRepository::mlflow(url, &self.model_cache),
            None => ModelRepository::folder(root),
        })
    }

    #[cfg(not(feature = "model-servers"))]
    fn repository(&self, root: &str) -> Result<ModelRepository, JobError> {
        if root.starts_with("mlflow+") {
            return Err(JobError::Invalid(
                "MLflow's registry needs the program's feature \"model-servers\"".to_owned(),
            ));
        }
        Ok(ModelRepository::folder(root))
    }

    /// Returns whether versions can change while the job runs.
    pub fn can_change(&self) -> bool {
        self.models.is_some()
    }

    /// Returns the baselines of the repository, if the models are of one.
    pub fn baselines(&self) -> Result<Option<Baselines>, JobError> {
        let repository = self.models.as_ref().map(|root| self.repository(root)).transpose()?;
        Ok(repository.as_ref().map(Baselines::of_repository))
    }

    /// Returns the rules by which the model of a repository takes features, if it has some.
    pub fn rules(&self) -> Result<Option<Arc<FeatureRules>>, JobError> {
        let Some(root) = &self.models else { return Ok(None) };
        let version = self.repository(root)?.find(&self.use_model)?;
        Ok(version.load::<FraudFeatures>(OUTPUT, COLUMN, &SessionSettings::default())?.rules().cloned())
    }

    /// Loads all versions, before the job starts.
    pub fn load(&self) -> Result<Models, JobError> {
        let settings = SessionSettings::default();
        let Some(root) = &self.models else {
            return Ok(Models::of(Model::load_with::<FraudFeatures>(&self.model, OUTPUT, COLUMN, &settings)?));
        };
        let repository = self.repository(root)?;
        let versions = repository.versions_with::<FraudFeatures>(OUTPUT, COLUMN, &settings);
        let load = |wanted| repository.find(wanted)?.load::<FraudFeatures>(OUTPUT, COLUMN, &settings);
        let mut models = Models::of(load(&self.use_model)?);
        for Switch { model, from } in &self.switch {
            models = models.from_event_time(*from, load(model)?);
        }
        Ok(models.with_versions_of(versions))
    }
}
