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
}

pub fn run(args: &Args) -> Result<()> {
    setup::run()?;
    build_examples()?;
    let python = setup::python()?;
    println!("the pinned training environment (models/requirements.txt)");
    check(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "-r"])
            .arg(root().join("models/requirements.txt")),
    )?;
    let features = scratch("training")?;
    let simulated = ["--count", "1200000"];
    train(&python, args, "fraud", "fraud_velocity", args.transactions.as_deref(), &simulated, &features)?;
    let simulated = ["--machines", "200", "--seconds", "3000"];
    train(&python, args, "iot", "iot_window", args.readings.as_deref(), &simulated, &features)?;
    let simulated = ["--count", "100000", "--print", "0"];
    train(&python, args, "recommendation", "content_recommendation", args.scrolls.as_deref(), &simulated, &features)
}

fn train(
    python: &Path,
    args: &Args,
    which: &str,
    name: &str,
    given: Option<&Path>,
    simulated: &[&str],
    scratch: &Path,
) -> Result<()> {
    let features = scratch.join(name);
    let mut program = example(name)?;
    program.args(["--log-level", "warn", "--features"]).arg(&features);
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
    check(&mut script)?;
    println!("{}", out.join(format!("{name}.md")).display());
    Ok(())
}
