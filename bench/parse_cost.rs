//! Measures the parsing of lines by itself: the parsers of plain text that file sources and Kafka's decoders have, beside
//! `serde_json` and the `csv` crate, which read whatever is not plain, and sonic-rs. All turn lines into records as
//! the examples have them; they take turns, and the fastest round of each counts.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use csv::ByteRecord;
use pieces::records::{csv_of, json_of, readings, transactions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_connectors::testing::{PlainCsv, PlainJson};

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
    compare(&args, "reading", &readings(args.count))?;
    compare(&args, "transaction", &transactions(args.count))
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
    let mut parser = PlainJson::default();
    plain_lines(text, move |text, at| {
        let (record, next) = parser.line::<T>(text, at)?;
        black_box(record);
        Some(next)
    })
}

fn plain_csv<T: DeserializeOwned>(text: &str, width: usize) -> Parse<'_> {
    let mut parser = PlainCsv::new(width);
    plain_lines(text, move |text, at| {
        let (record, next) = parser.line::<T>(text, at)?;
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
