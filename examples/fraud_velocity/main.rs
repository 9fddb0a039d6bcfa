//! Scores card transactions as they happen: velocity of the card, risk of the terminal, XGBoost.
//!
//! ```text
//! transactions ─▶ by card: velocity ─▶ by terminal: risk ─▶ score ─┬─▶ predictions
//! charge-backs, 7 days later ─────────────────┘                    └─▶ alerts
//! ```

mod features;
mod simulate;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use features::{CardVelocity, ChargeBack, Featured, FraudFeatures, TerminalRisk, Transaction};
use simulate::City;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Scores card transactions: velocity of the card, risk of the terminal, an XGBoost model.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Transactions to read: .csv or .jsonl, also .gz or .zst. Without it they are simulated.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Go on reading as the input grows, until stopped.
    #[arg(long, requires = "input")]
    follow: bool,
    /// How far out of order transactions may come without being late.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    max_out_of_orderness: Duration,
    /// How many transactions are simulated.
    #[arg(long, default_value_t = 2_000_000, value_name = "N")]
    count: u64,
    /// How many transactions a second are simulated, open loop; as many as are taken by default.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Chance of the simulation.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Writes the simulated transactions to this .csv file and stops.
    #[arg(long, value_name = "FILE")]
    write_input: Option<PathBuf>,
    /// The model.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/fraud_velocity.onnx"), value_name = "FILE")]
    model: PathBuf,
    /// Transactions scored at a time, at most.
    #[arg(long, default_value = "96", value_name = "N")]
    max_batch_size: NonZeroUsize,
    /// How long a transaction waits at most for its batch to fill.
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    max_delay: Duration,
    /// A score above this is an alert.
    #[arg(long, default_value_t = 0.85)]
    threshold: f32,
    /// In which order a key sees its transactions; event-time by default.
    #[arg(long, value_enum, default_value_t = OrderArg::EventTime)]
    order: OrderArg,
    /// Where predictions go, as parts of JSON lines; nowhere by default.
    #[arg(long, value_name = "DIR")]
    predictions: Option<PathBuf>,
    /// Where alerts go.
    #[arg(long, value_name = "DIR")]
    alerts: Option<PathBuf>,
    /// Where lines and transactions that cannot be used go, with the reason.
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
    /// Writes features and label of each transaction here, for training; nothing is scored.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["predictions", "alerts"])]
    features: Option<PathBuf>,
    /// Prints what the job counted, as JSON, when it ends.
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderArg {
    /// Wait until the watermark has passed a transaction: exact, and the same in any replay.
    EventTime,
    /// Wait for nothing: what has not arrived is not counted.
    Arrival,
}

impl From<OrderArg> for Order {
    fn from(order: OrderArg) -> Self {
        match order {
            OrderArg::EventTime => Self::EventTime,
            OrderArg::Arrival => Self::Arrival,
        }
    }
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prediction {
    tx_id: u64,
    ts: i64,
    card_id: u64,
    score: f32,
    /// Name and hash of the model, and `fallback` where it failed.
    model: String,
    features: FraudFeatures,
}

/// A line for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Example {
    tx_id: u64,
    ts: i64,
    is_fraud: u8,
    features: FraudFeatures,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let result = match &args.write_input {
        Some(path) => write_input(&args, path).map_err(|e| format!("cannot write \"{}\": {e}", path.display())),
        None => run(args).map_err(|e| e.report()),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), JobError> {
    // Checked before anything starts.
    let model = match args.features {
        Some(_) => None,
        None => Some(Model::load::<FraudFeatures>(&args.model, "probabilities", 1).map_err(JobError::setup)?),
    };
    let (job, report) = (Job::new("fraud_velocity", args.job.clone()), args.report);
    let snapshot = job.run(move |flow| build(flow, &args, model.as_ref()))?;
    if report {
        println!("{}", serde_json::to_string_pretty(&snapshot).map_err(JobError::setup)?);
    }
    Ok(())
}

fn build(flow: &Flow<'_>, args: &Args, model: Option<&Model>) -> Result<(), JobError> {
    let order = Order::from(args.order);
    let (transactions, charge_backs) = sources(flow, args)?;
    let featured = transactions
        .key_by(|transaction| transaction.card_id)
        .process("card-velocity", order, CardVelocity::open)?
        .main
        .key_by(|featured| featured.transaction.terminal_id)
        .connect(charge_backs.key_by(|charge_back| charge_back.terminal_id))
        .process("terminal-risk", order, TerminalRisk::open)?
        .main;

    if let Some(model) = model {
        let settings = InferSettings {
            max_batch_size: args.max_batch_size,
            max_delay: args.max_delay,
            ..InferSettings::default()
        };
        let name = model.info().to_string();
        let predictions =
            featured.infer("score", model, &settings, |featured: &Featured| &featured.features)?.map(move |scored| {
                let Featured { transaction: Transaction { tx_id, ts, card_id, .. }, features } = scored.record;
                Prediction { tx_id, ts, card_id, score: scored.score, model: name.clone(), features }
            });
        let threshold = args.threshold;
        write(predictions.clone().filter(move |p| p.score > threshold), "alerts", args.alerts.as_deref())?;
        write(predictions, "predictions", args.predictions.as_deref())?;
    } else {
        let examples = featured.map(|Featured { transaction: Transaction { tx_id, ts, is_fraud, .. }, features }| {
            Example { tx_id, ts, is_fraud, features }
        });
        write(examples, "features", args.features.as_deref())?;
    }
    write(flow.dead_letters(), "dead-letters", args.dead_letters.as_deref())
}

type Sources<'s> = (Stream<'s, Transaction>, Stream<'s, ChargeBack>);

/// Transactions, and their charge-backs, which are known 7 days later: the same events twice, at two times.
fn sources<'s>(flow: &Flow<'s>, args: &Args) -> Result<Sources<'s>, JobError> {
    let known_at = |charge_back: &ChargeBack| EventTime(charge_back.known_at);
    let bound = args.max_out_of_orderness;
    if args.input.is_empty() {
        let city = City::new(args.seed);
        let same_city = city.clone();
        let transactions = Generator::new(args.count, move |index| {
            let transaction = city.transaction(index);
            (transaction.event_time(), transaction)
        });
        let charge_backs = Generator::new(args.count, move |index| {
            let charge_back = ChargeBack::from(same_city.transaction(index));
            (known_at(&charge_back), charge_back)
        });
        let transactions = transactions.rate(args.rate.unwrap_or(0.0));
        return Ok((flow.source("transactions", &transactions)?, flow.source("charge-backs", &charge_backs)?));
    }
    let mut transactions = FileSource::new(&args.input, Transaction::event_time).max_out_of_orderness(bound);
    let mut charge_backs = FileSource::converted(&args.input, |line: Transaction| ChargeBack::from(line), known_at)
        .max_out_of_orderness(bound);
    if args.follow {
        (transactions, charge_backs) = (transactions.follow(), charge_backs.follow());
    }
    Ok((flow.source("transactions", &transactions)?, flow.source("charge-backs", &charge_backs)?))
}

fn write<D: Data>(stream: Stream<'_, D>, name: &str, folder: Option<&Path>) -> Result<(), JobError> {
    match folder {
        Some(folder) => stream.sink(name, &FileSink::json_lines(folder)),
        None => stream.sink(name, &NullSink::default()),
    }
}

fn write_input(args: &Args, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let city = City::new(args.seed);
    let mut writer = csv::Writer::from_path(path)?;
    for index in 0..args.count {
        writer.serialize(city.transaction(index))?;
    }
    writer.flush()?;
    Ok(())
}
