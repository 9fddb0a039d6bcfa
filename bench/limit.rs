//! The limit: the same features and scores in a plain loop, without an engine. It has one thread, no checkpoints and no
//! output; it parses, uses a hash map, and runs ONNX Runtime in full batches. The cost of an engine is measured against
//! it.

#[path = "../examples/fraud_velocity/features.rs"]
#[allow(dead_code, reason = "the limit uses the types, not the operators")]
mod features;
#[path = "../examples/iot_window/signals.rs"]
#[allow(dead_code, reason = "the limit uses the types, not the operators")]
mod signals;

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use compact_str::CompactString;
use hashbrown::HashMap;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use tidemill::prelude::*;

use features::{CHARGE_BACK_DELAY, FraudFeatures, Transaction};
use signals::{Reading, Signals, WindowFeatures};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    which: Which,
    /// An uncompressed CSV file.
    #[arg(long)]
    input: PathBuf,
    /// Without a model only the features are computed.
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long, default_value_t = 96)]
    batch: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Fraud,
    Iot,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args = Args::parse();
    let (output, column) = match args.which {
        Which::Fraud => ("probabilities", 1),
        Which::Iot => ("scores", 0),
    };
    // Loading the model is not measured.
    let environment = match &args.model {
        Some(_) => Some(ort::init_from(std::env::var("ORT_DYLIB_PATH")?)?.build()?),
        None => None,
    };
    let model = args.model.as_ref().zip(environment.as_ref());
    let model =
        model.map(|(path, environment)| Scorer::open(environment, path, output, column, args.batch)).transpose()?;
    let started = Instant::now();
    let (records, checksum) = match args.which {
        Which::Fraud => fraud(&args, model)?,
        Which::Iot => iot(&args, model)?,
    };
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "records": records, "seconds": seconds, "checksum": checksum }));
    Ok(())
}

/// A scorer that runs ONNX Runtime in full batches.
struct Scorer {
    session: Session,
    input: String,
    output: &'static str,
    column: usize,
    batch: usize,
    rows: Vec<f32>,
    sum: f64,
}

impl Scorer {
    fn open(
        environment: &Environment,
        path: &PathBuf,
        output: &'static str,
        column: usize,
        batch: usize,
    ) -> Result<Self> {
        let builder = Session::builder(environment)?.with_intra_threads(1).map_err(|e| e.to_string())?;
        let session = { builder }.commit_from_file(path)?;
        let input = session.inputs()[0].name().to_owned();
        Ok(Self { session, input, output, column, batch, rows: Vec::new(), sum: 0.0 })
    }

    fn add<F: Features>(&mut self, features: &F) -> Result<()> {
        let width = F::NAMES.len();
        let start = self.rows.len();
        self.rows.resize(start + width, 0.0);
        features.write(&mut self.rows[start..]);
        if self.rows.len() == self.batch * width { self.run(width) } else { Ok(()) }
    }

    fn run(&mut self, width: usize) -> Result<()> {
        let rows = self.rows.len() / width;
        if rows > 0 {
            let tensor = TensorRef::from_array_view(([rows, width], &*self.rows))?;
            let outputs = self.session.run(ort::inputs![self.input.as_str() => tensor])?;
            let (_, values) = outputs[self.output].try_extract_tensor::<f32>()?;
            let columns = values.len() / rows;
            self.sum += values.iter().skip(self.column).step_by(columns).map(|score| f64::from(*score)).sum::<f64>();
        }
        self.rows.clear();
        Ok(())
    }
}

/// Count and sum over (t − W, t] for several lengths W, as the rolling operator keeps them.
struct Windows<const N: usize> {
    events: VecDeque<(i64, f64)>,
    counts: [usize; N],
    sums: [f64; N],
}

impl<const N: usize> Default for Windows<N> {
    fn default() -> Self {
        Self { events: VecDeque::new(), counts: [0; N], sums: [0.0; N] }
    }
}

impl<const N: usize> Windows<N> {
    fn step(&mut self, now: i64, lengths: &[i64; N], value: Option<f64>) {
        if let Some(value) = value {
            self.events.push_back((now, value));
            for at in 0..N {
                self.counts[at] += 1;
                self.sums[at] += value;
            }
        }
        for (at, length) in lengths.iter().enumerate() {
            while self.counts[at] > 0 {
                let (time, value) = self.events[self.events.len() - self.counts[at]];
                if time > now - length {
                    break;
                }
                self.counts[at] -= 1;
                self.sums[at] -= value;
            }
        }
        while self.events.len() > self.counts[N - 1] {
            self.events.pop_front();
        }
    }

    fn mean(&self, at: usize) -> f64 {
        if self.counts[at] == 0 { 0.0 } else { self.sums[at] / self.counts[at] as f64 }
    }
}

const DAY: i64 = 86_400_000;

fn fraud(args: &Args, mut model: Option<Scorer>) -> Result<(u64, f64)> {
    let mut reader = csv::Reader::from_reader(File::open(&args.input)?);
    reader.byte_headers()?;
    let mut cards: HashMap<u64, (Windows<4>, i64), foldhash::fast::FixedState> = HashMap::default();
    let mut terminals: HashMap<u64, Windows<3>, foldhash::fast::FixedState> = HashMap::default();
    let mut charge_backs: VecDeque<(i64, u64, f64)> = VecDeque::new();
    let (card_lengths, terminal_lengths) = ([300_000, DAY, 7 * DAY, 30 * DAY], [DAY, 7 * DAY, 30 * DAY]);
    let (mut line, mut records, mut checksum) = (csv::ByteRecord::new(), 0, 0.0);
    while reader.read_byte_record(&mut line)? {
        let Transaction { ts, card_id, terminal_id, amount, is_fraud, .. } = line.deserialize(None)?;
        while let Some(&(known_at, terminal, value)) = charge_backs.front()
            && known_at <= ts
        {
            charge_backs.pop_front();
            terminals.entry(terminal).or_default().step(known_at, &terminal_lengths, Some(value));
        }
        charge_backs.push_back(((EventTime(ts) + CHARGE_BACK_DELAY).0, terminal_id, f64::from(is_fraud)));
        let (card, last) = cards.entry(card_id).or_insert_with(|| (Windows::default(), i64::MIN));
        card.step(ts, &card_lengths, Some(amount));
        let previous = std::mem::replace(last, ts);
        let terminal = terminals.entry(terminal_id).or_default();
        terminal.step(ts, &terminal_lengths, None);
        let features = FraudFeatures {
            amount,
            is_weekend: f64::from((ts.div_euclid(DAY) + 3).rem_euclid(7) >= 5),
            is_night: f64::from(ts.rem_euclid(DAY) / 3_600_000 <= 6),
            card_count_5m: card.counts[0] as f64,
            card_mean_5m: card.mean(0),
            card_count_1d: card.counts[1] as f64,
            card_mean_1d: card.mean(1),
            card_count_7d: card.counts[2] as f64,
            card_mean_7d: card.mean(2),
            card_count_30d: card.counts[3] as f64,
            card_mean_30d: card.mean(3),
            seconds_since_last: if previous == i64::MIN { -1.0 } else { (ts - previous) as f64 / 1000.0 },
            terminal_count_1d: terminal.counts[0] as f64,
            terminal_risk_1d: terminal.mean(0),
            terminal_count_7d: terminal.counts[1] as f64,
            terminal_risk_7d: terminal.mean(1),
            terminal_count_30d: terminal.counts[2] as f64,
            terminal_risk_30d: terminal.mean(2),
        };
        checksum += features.card_mean_7d + features.terminal_risk_7d;
        if let Some(model) = &mut model {
            model.add(&features)?;
        }
        records += 1;
    }
    if let Some(model) = &mut model {
        model.run(FraudFeatures::NAMES.len())?;
        checksum += model.sum;
    }
    Ok((records, checksum))
}

fn iot(args: &Args, mut model: Option<Scorer>) -> Result<(u64, f64)> {
    let mut reader = csv::Reader::from_reader(File::open(&args.input)?);
    reader.byte_headers()?;
    let mut machines: HashMap<CompactString, (i64, signals::Gathered), foldhash::fast::FixedState> = HashMap::default();
    let (mut line, mut records, mut checksum) = (csv::ByteRecord::new(), 0, 0.0);
    let mut close = |gathered: &signals::Gathered| -> Result<()> {
        let features = Signals.finish(gathered).signals;
        checksum += features.temperature_mean;
        model.as_mut().map_or(Ok(()), |model| model.add(&features))
    };
    while reader.read_byte_record(&mut line)? {
        let reading: Reading = line.deserialize(None)?;
        let start = reading.ts - reading.ts.rem_euclid(10_000);
        // Readings come in order of time, so a reading of the next window closes the last one.
        match machines.get_mut(&reading.machine_id) {
            Some((open, gathered)) => {
                if *open != start {
                    close(&std::mem::take(gathered))?;
                    *open = start;
                }
                Signals.add(gathered, &reading);
            }
            None => {
                let mut gathered = signals::Gathered::default();
                Signals.add(&mut gathered, &reading);
                machines.insert(reading.machine_id, (start, gathered));
            }
        }
        records += 1;
    }
    for (_, gathered) in machines.values() {
        close(gathered)?;
    }
    if let Some(model) = &mut model {
        model.run(WindowFeatures::NAMES.len())?;
        checksum += model.sum;
    }
    Ok((records, checksum))
}
