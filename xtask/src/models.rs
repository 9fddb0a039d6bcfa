//! Trains the examples' models on features that the examples themselves compute.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{build_examples, check, example, root, scratch, setup};

#[derive(clap::Args)]
pub struct Args {
    /// Transactions to train on, columns as `fraud_velocity --input` takes them; simulated by default.
    #[arg(long, value_name = "FILE")]
    transactions: Option<PathBuf>,
    /// Readings to train on, columns as `iot_window --input` takes them; simulated by default.
    #[arg(long, value_name = "FILE")]
    readings: Option<PathBuf>,
    /// Scrolls to train on, columns as `content_recommendation --input` takes them; simulated by default.
    #[arg(long, value_name = "FILE")]
    scrolls: Option<PathBuf>,
    /// Where the models and their cards go; those the project ships by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A model repository, to which the Python package exports each model as its next version.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Trains this model only.
    #[arg(long, value_name = "NAME")]
    only: Option<Trained>,
}

/// A model that is trained here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Trained {
    FraudVelocity,
    IotWindow,
    ContentRecommendation,
}

impl Trained {
    /// Returns its name in train.py, and that of the example.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::FraudVelocity => ("fraud", "fraud_velocity"),
            Self::IotWindow => ("iot", "iot_window"),
            Self::ContentRecommendation => ("recommendation", "content_recommendation"),
        }
    }

    /// Returns the data that is given, and the flags that simulate some otherwise.
    fn data(self, args: &Args) -> (Option<&Path>, &'static [&'static str]) {
        match self {
            Self::FraudVelocity => (args.transactions.as_deref(), &["--count", "1200000"]),
            Self::IotWindow => (args.readings.as_deref(), &["--machines", "200", "--seconds", "3000"]),
            Self::ContentRecommendation => (args.scrolls.as_deref(), &["--count", "100000", "--print", "0"]),
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    setup::run()?;
    build_examples()?;
    let python = environment()?;
    let features = scratch("training")?;
    let all = [Trained::FraudVelocity, Trained::IotWindow, Trained::ContentRecommendation];
    all.into_iter()
        .filter(|model| args.only.is_none_or(|only| only == *model))
        .try_for_each(|model| train(&python, args, model, &features))
}

/// Trains the model of `fraud_velocity` on simulated transactions, and exports it to a repository with all that is beside a
/// model. The model itself and its card go to `out`.
pub fn export_fraud(repository: &Path, out: &Path) -> Result<()> {
    let (repository, out) = (Some(repository.to_owned()), Some(out.to_owned()));
    let only = Some(Trained::FraudVelocity);
    run(&Args { transactions: None, readings: None, scrolls: None, out, repository, only })
}

/// Returns the Python that models are trained with, with the package in `python/`.
pub fn environment() -> Result<PathBuf> {
    let python = setup::python()?;
    println!("the pinned training environment (models/requirements.txt), and the package in python/");
    let install = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]);
        pip
    };
    check(install().arg("-r").arg(root().join("models/requirements.txt")))?;
    // Again each time, for its version stays the same. What it depends on is pinned above.
    check(install().args(["--force-reinstall", "--no-deps"]).arg(root().join("python")))?;
    Ok(python)
}

fn train(python: &Path, args: &Args, model: Trained, scratch: &Path) -> Result<()> {
    let ((which, name), (given, simulated)) = (model.names(), model.data(args));
    let features = scratch.join(name);
    let mut program = example(name)?;
    program.args(["--log-level", "warn", "--features-as-parquet", "--features"]).arg(&features);
    let data = match given {
        Some(file) => {
            program.arg("--input").arg(file);
            format!("`{}`", file.file_name().unwrap_or(file.as_os_str()).display())
        }
        None => {
            program.args(simulated);
            format!("simulated: `{name} {} --seed 7`", simulated.join(" "))
        }
    };
    println!("{name}: computing features");
    check(&mut program)?;
    println!("{name}: training");
    let out = args.out.clone().unwrap_or_else(|| root().join("models"));
    let mut script = Command::new(python);
    script.arg(root().join("models/train.py")).arg(which).arg("--features").arg(&features).args(["--data", &data]);
    script.arg("--model").arg(out.join(format!("{name}.onnx"))).arg("--card").arg(out.join(format!("{name}.md")));
    if let Some(repository) = &args.repository {
        script.arg("--repository").arg(repository);
    }
    check(&mut script)?;
    println!("{}", out.join(format!("{name}.md")).display());
    Ok(())
}
