//! The jobs `fraud` and `fraud-score` of the comparison: count and sum of a card over five minutes and an hour at each
//! of its transactions, in event-time order, and a rule or a model that decides. Each alert is a JSON line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tidemill::features;
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOUR: i64 = 3_600_000;

/// Finds frauds by the velocity of cards.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Transactions, a .jsonl file.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Folder for the alerts, and for sums over all features, by which the output is checked.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model; without it a rule decides.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Transactions scored at a time, at most.
    #[arg(long, default_value = "64", value_name = "N|auto:N")]
    max_batch_size: BatchSize,
    #[command(flatten)]
    job: JobArgs,
}

/// A line of the input.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Transaction {
    tx_id: u64,
    card_id: CompactString,
    merchant_id: CompactString,
    amount: f64,
    ts: i64,
}

features! {
    struct VelocityFeatures { amount, count_5m, sum_5m, count_1h, sum_1h, since, hour, ratio }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Featured {
    tx_id: u64,
    card_id: CompactString,
    features: VelocityFeatures,
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Alert {
    tx_id: u64,
    card_id: CompactString,
    score: f64,
}

/// Computes how often and how much a card spent in two windows.
struct Velocity(Rolling<CompactString>);

impl KeyedLogic for Velocity {
    type Key = CompactString;
    type In = Transaction;
    type Out = Featured;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, CompactString, Featured, ()>,
        record: Record<Transaction>,
    ) -> Result<(), LogicError> {
        let (now, Transaction { tx_id, card_id, amount, ts, .. }) = (record.event_time, record.data);
        let features = self.0.add(ctx, amount, |Rolled { windows, previous }| VelocityFeatures {
            amount,
            count_5m: windows[0].count as f64,
            sum_5m: windows[0].sum(),
            count_1h: windows[1].count as f64,
            sum_1h: windows[1].sum(),
            since: previous.map_or(-1.0, |previous| now.ms_since(previous) as f64 / 1000.0),
            hour: (ts / HOUR % 24) as f64,
            ratio: amount / windows[0].mean(),
        })?;
        ctx.emit(Featured { tx_id, card_id, features });
        Ok(())
    }

    fn tie_break(transaction: &Transaction) -> u64 {
        transaction.tx_id
    }
}

/// Sums over all features, by which the output is checked. A worker adds its own when its part of the job ends.
#[derive(Clone, Default, Serialize)]
struct Sums {
    records: u64,
    alerts: u64,
    sums: [f64; 16],
}

/// The sums of a worker.
struct Tally {
    own: Sums,
    all: Arc<Mutex<Sums>>,
}

impl Tally {
    fn of(all: &Arc<Mutex<Sums>>) -> Self {
        Self { own: Sums::default(), all: Arc::clone(all) }
    }

    fn add(&mut self, Featured { tx_id, features: f, .. }: &Featured) {
        let weight = (tx_id % 101 + 1) as f64;
        let values = [f.amount, f.count_5m, f.sum_5m, f.count_1h, f.sum_1h, f.since, f.hour, f.ratio];
        self.own.records += 1;
        for (at, value) in values.into_iter().enumerate() {
            self.own.sums[at] += value;
            self.own.sums[8 + at] += value * weight;
        }
    }

    fn add_alert(&mut self) {
        self.own.alerts += 1;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.records += self.own.records;
        all.alerts += self.own.alerts;
        all.sums.iter_mut().zip(self.own.sums).for_each(|(all, own)| *all += own);
    }
}

fn main() -> ExitCode {
    tidemill::cli::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), JobError> {
    let started = Instant::now();
    let load = |path: &PathBuf| Model::load::<VelocityFeatures>(path, "probabilities", 1);
    let model = args.model.as_ref().map(load).transpose()?;
    let sums = Arc::default();
    let (all, settings) = (Arc::clone(&sums), args.clone());
    Job::new("peer_fraud", args.job.clone()).run(move |flow| build(flow, &settings, model.as_ref(), &all))?;
    let seconds = started.elapsed().as_secs_f64();
    let sums = sums.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = serde_json::to_vec(&sums).map_err(JobError::setup)?;
    std::fs::write(args.out.join("sums-0.json"), text).map_err(JobError::setup)?;
    println!("{}", serde_json::json!({ "records": sums.records, "seconds": seconds }));
    Ok(())
}

fn build(flow: &Flow<'_>, args: &Args, model: Option<&Model>, sums: &Arc<Mutex<Sums>>) -> Result<(), JobError> {
    let transactions = FileSource::new([&args.input], |transaction: &Transaction| EventTime(transaction.ts))
        .max_out_of_orderness(secs(2));
    let (mut seen, mut written) = (Tally::of(sums), Tally::of(sums));
    let featured = flow
        .source("transactions", &transactions)?
        .key_by(|transaction| transaction.card_id.clone())
        .process("velocity", Order::EventTime, |states| {
            Ok(Velocity(Rolling::open(states, "spent", &[minutes(5), hours(1)])?))
        })?
        .results
        .inspect(move |record| seen.add(&record.data));
    let alerts = match model {
        Some(model) => {
            let settings = InferSettings { max_batch_size: args.max_batch_size, ..InferSettings::default() };
            let scored = featured.infer("score", model, &settings, |featured: &Featured| &featured.features)?;
            scored.filter(|scored| scored.score > 0.85).map(|Scored { record, score, .. }| {
                let Featured { tx_id, card_id, .. } = record;
                Alert { tx_id, card_id, score: score.into() }
            })
        }
        None => featured
            .filter(|featured| featured.features.count_5m >= 3.0 && featured.features.ratio > 3.0)
            .map(|Featured { tx_id, card_id, features }| Alert { tx_id, card_id, score: features.ratio }),
    };
    alerts.inspect(move |_| written.add_alert()).sink("alerts", &FileSink::json_lines(&args.out))
}
