//! Measures the parsing of lines by itself: the parsers of plain text that file sources and Kafka's decoders have, beside
//! `serde_json` and the `csv` crate, which read whatever is not plain, and sonic-rs. All turn lines into the records of
//! the examples; they take turns, and the fastest round of each counts.

#[path = "../examples/fraud_velocity/features.rs"]
#[allow(dead_code, reason = "only the type of the records")]
mod features;
#[path = "../connectors/src/plain/mod.rs"]
#[allow(dead_code, unused_imports, reason = "private to the connectors, whose tests need the rest")]
mod plain;
#[path = "../examples/iot_window/signals.rs"]
#[allow(dead_code, reason = "only the type of the records")]
mod signals;

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use compact_str::format_compact;
use csv::ByteRecord;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use features::Transaction;
use plain::csv::{Columns, Layout};
use signals::Reading;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares parsers on the lines of the examples.
#[derive(Parser)]
struct Args {
    /// Lines.
    #[arg(long, default_value_t = 50_000)]
    count: u64,
    /// Rounds of each parser; the fastest counts.
    #[arg(long, default_value_t = 25)]
    rounds: u32,
    /// Only rows whose name contains this, as in "reading, JSON, plain", for a count of instructions.
    #[arg(long)]
    only: Option<String>,
}

type Failure = Box<dyn Error>;
/// Parses all lines and returns how many there were.
type Parse<'a> = Box<dyn FnMut() -> Result<u64, Failure> + 'a>;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    println!("{:>16} {:>12} {:>14} {:>8}", "", "parser", "ns per record", "MB/s");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let readings: Vec<Reading> = (0..args.count).map(|index| reading(index, &mut random)).collect();
    compare(&args, "reading", &readings)?;
    let transactions: Vec<Transaction> = (0..args.count).map(|index| transaction(index, &mut random)).collect();
    compare(&args, "transaction", &transactions)
}

/// Returns a number with six digits after its point, as sensors write them.
fn signal(random: &mut ChaCha8Rng, about: f64) -> f64 {
    (about * random.random_range(0.9..1.1) * 1e6_f64).round() / 1e6
}

fn reading(index: u64, random: &mut ChaCha8Rng) -> Reading {
    let mut signal = |about| signal(random, about);
    Reading {
        machine_id: format_compact!("pump-{:05}", index % 10_000),
        ts: 1_767_225_600_000 + index as i64,
        accelerometer_1: signal(0.2),
        accelerometer_2: signal(0.27),
        current: signal(2.7),
        pressure: signal(0.1),
        temperature: signal(90.0),
        thermocouple: signal(26.0),
        voltage: signal(230.0),
        flow_rate: signal(122.0),
        anomaly: 0,
    }
}

fn transaction(index: u64, random: &mut ChaCha8Rng) -> Transaction {
    Transaction {
        tx_id: index,
        ts: 1_767_225_600_000 + 100 * index as i64,
        card_id: random.random_range(0..5_000),
        terminal_id: random.random_range(0..10_000),
        amount: f64::from(random.random_range(100..20_000_u32)) / 100.0,
        is_fraud: 0,
    }
}

fn compare<T: Serialize + DeserializeOwned>(args: &Args, name: &str, records: &[T]) -> Result<(), Failure> {
    let json = json_of(records)?;
    let (csv, width) = csv_of(records)?;
    let run = |format: &str, text: &str, mut parsers: Vec<(&str, Parse<'_>)>| {
        let name = format!("{name}, {format}");
        let is_wanted = |parser| args.only.as_deref().is_none_or(|only| format!("{name}, {parser}").contains(only));
        parsers.retain(|(parser, _)| is_wanted(*parser));
        measure(args.rounds, &name, text.len(), parsers)
    };
    let parsers = vec![
        ("plain", plain_json::<T>(&json)),
        ("serde_json", each_line(&json, |line| Ok(serde_json::from_slice::<T>(line)?))),
        ("sonic-rs", each_line(&json, |line| Ok(sonic_rs::from_slice::<T>(line)?))),
    ];
    run("JSON", &json, parsers)?;
    run("CSV", &csv, vec![("plain", plain_csv::<T>(&csv, width)), ("csv", by_csv_crate::<T>(&csv))])
}

fn json_of<T: Serialize>(records: &[T]) -> Result<String, Failure> {
    let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
    Ok(lines?.join("\n") + "\n")
}

/// Returns lines of CSV without a header, and the number of columns.
fn csv_of<T: Serialize>(records: &[T]) -> Result<(String, usize), Failure> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    records.iter().try_for_each(|record| writer.serialize(record))?;
    let text = String::from_utf8(writer.into_inner().map_err(|e| e.to_string())?)?;
    let width = text.lines().next().map_or(0, |line| line.split(',').count());
    Ok((text, width))
}

fn each_line<'a, T>(text: &'a str, mut parse: impl FnMut(&[u8]) -> Result<T, Failure> + 'a) -> Parse<'a> {
    Box::new(move || {
        let mut count = 0;
        for line in text.as_bytes().split_inclusive(|byte| *byte == b'\n') {
            black_box(parse(line)?);
            count += 1;
        }
        Ok(count)
    })
}

/// As the file source does: it looks at the encoding of a chunk at a time.
fn plain_lines<'a>(text: &'a str, mut parse: impl FnMut(&str, usize) -> Option<usize> + 'a) -> Parse<'a> {
    Box::new(move || {
        let text = std::str::from_utf8(black_box(text.as_bytes()))?;
        let (mut count, mut at) = (0, 0);
        while at < text.len() {
            at = parse(text, at).ok_or("a line is not plain")?;
            count += 1;
        }
        Ok(count)
    })
}

fn plain_json<T: DeserializeOwned>(text: &str) -> Parse<'_> {
    let mut scratch = String::new();
    plain_lines(text, move |text, at| {
        let (record, next) = plain::json::line::<T>(text, at, &mut scratch).ok()?;
        black_box(record);
        Some(next)
    })
}

fn plain_csv<T: DeserializeOwned>(text: &str, width: usize) -> Parse<'_> {
    let (names, mut starts) = (ByteRecord::new(), Vec::new());
    plain_lines(text, move |text, at| {
        let layout = Layout { columns: &Columns::All, names: &names, width, has_quotes: true };
        let (record, next) = plain::csv::line::<T>(&layout, text, at, &mut starts).ok()?;
        black_box(record);
        Some(next)
    })
}

fn by_csv_crate<T: DeserializeOwned>(text: &str) -> Parse<'_> {
    Box::new(move || {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let (mut count, mut record) = (0, ByteRecord::new());
        while reader.read_byte_record(&mut record)? {
            black_box(record.deserialize::<T>(None)?);
            count += 1;
        }
        Ok(count)
    })
}

fn measure(rounds: u32, name: &str, bytes: usize, mut parsers: Vec<(&str, Parse<'_>)>) -> Result<(), Failure> {
    let mut fastest = vec![(Duration::MAX, 0); parsers.len()];
    for _ in 0..rounds {
        for ((_, parse), (time, count)) in parsers.iter_mut().zip(&mut fastest) {
            let started = Instant::now();
            *count = parse()?;
            *time = started.elapsed().min(*time);
        }
    }
    for ((parser, _), (time, count)) in parsers.iter().zip(fastest) {
        let (nanos, rate) = (time.as_nanos() as f64 / count as f64, bytes as f64 / 1e6 / time.as_secs_f64());
        println!("{name:>16} {parser:>12} {nanos:>14.1} {rate:>8.0}");
    }
    Ok(())
}
