//! Writes the input of the comparison: the same bytes each time, for the seeds are fixed.
//!
//! ```text
//! iot.jsonl   10,000 machines once a second, up to 1 s out of order
//! tx.jsonl    100,000 cards, a few of which spend most; 400 transactions a second, up to 2 s out of order
//! *.p0, *.p1  the same lines in two parts, all of a key in one of them, as in a topic with two partitions
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use peers::args::create;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal, Normal, Zipf};

const START: i64 = 1_700_000_000_000;
const MACHINES: u64 = 10_000;
const CARDS: f64 = 100_000.0;

/// Writes the input of the comparison.
#[derive(Parser)]
struct Args {
    /// Folder for the files.
    #[arg(long)]
    out: PathBuf,
    /// Number of transactions, and of readings.
    #[arg(long)]
    count: u64,
}

fn main() -> Result<()> {
    let Args { out, count } = Args::parse();
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create \"{}\"", out.display()))?;
    readings(&out, count)?;
    transactions(&out, count)
}

/// A file of lines, and its two parts.
struct Files {
    whole: BufWriter<File>,
    parts: [BufWriter<File>; 2],
}

impl Files {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        let file = |part: &str| create(&folder.join(format!("{name}{part}.jsonl")));
        Ok(Self { whole: file("")?, parts: [file(".p0")?, file(".p1")?] })
    }

    fn write(&mut self, key: u64, line: &str) -> Result<()> {
        let part = (key as u32).wrapping_mul(2_654_435_761) >> 16 & 1;
        self.whole.write_all(line.as_bytes())?;
        Ok(self.parts[part as usize].write_all(line.as_bytes())?)
    }

    fn finish(mut self) -> Result<()> {
        self.whole.flush()?;
        self.parts.iter_mut().try_for_each(|part| Ok(part.flush()?))
    }
}

fn readings(folder: &Path, count: u64) -> Result<()> {
    let (mut files, mut random) = (Files::create(folder, "iot")?, ChaCha8Rng::seed_from_u64(11));
    let (noise, vibrations, pressures) = (Normal::new(0.0, 2.0)?, Normal::new(0.5, 0.1)?, Normal::new(101.3, 0.8)?);
    for index in 0..count {
        let machine = index % MACHINES;
        let ts = START + (index * 1000 / MACHINES) as i64 - random.random_range(0..1000);
        let temperature = 60.0 + (machine % 20) as f64 + noise.sample(&mut random);
        let (vibration, pressure) = (vibrations.sample(&mut random), pressures.sample(&mut random));
        let line = format!(
            "{{\"machine_id\":\"m{machine:05}\",\"ts\":{ts},\"temperature\":{temperature:.3},\"vibration\":{vibration:.4},\"pressure\":{pressure:.3}}}\n"
        );
        files.write(machine, &line)?;
    }
    files.finish()
}

fn transactions(folder: &Path, count: u64) -> Result<()> {
    let (mut files, mut random) = (Files::create(folder, "tx")?, ChaCha8Rng::seed_from_u64(7));
    // The first card has 13 % of all transactions.
    let (cards, pauses, amounts) = (Zipf::new(CARDS, 1.1)?, Exp::new(0.4)?, LogNormal::new(3.0, 0.7)?);
    let mut now = 0.0;
    for id in 0..count {
        now += pauses.sample(&mut random);
        let ts = START + now as i64 - random.random_range(0..2000);
        let card = cards.sample(&mut random) as u64 - 1;
        let merchant = random.random_range(0..5000);
        let burst = if random.random_bool(0.02) { 8.0 } else { 1.0 };
        let amount = amounts.sample(&mut random) * burst;
        let line = format!(
            "{{\"tx_id\":{id},\"card_id\":\"c{card:06}\",\"merchant_id\":\"m{merchant:04}\",\"amount\":{amount:.2},\"ts\":{ts}}}\n"
        );
        files.write(card, &line)?;
    }
    files.finish()
}
