//! The limit: a job of the comparison in a plain loop, without an engine. It has one thread and no fault tolerance.

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use peers::alerts::Alerts;
use peers::args::{Files, Job, report};
use peers::cards::{self, Card, Pending, Transaction};
use peers::iot::{self, Reading, Windows};
use peers::lines::{Key, Lines};
use peers::model::Model;
use rustc_hash::FxHashMap;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a job of the comparison without an engine.
#[derive(Parser)]
struct Args {
    job: Job,
    #[command(flatten)]
    files: Files,
}

fn main() -> Result<()> {
    let Args { job, files } = Args::parse();
    let started = Instant::now();
    let records = match job {
        Job::Iot => iot(&files)?,
        Job::Fraud | Job::FraudScore => fraud(&files, files.load_model(job)?)?,
    };
    report(records, started);
    Ok(())
}

fn iot(files: &Files) -> Result<u64> {
    let (mut lines, mut out) = (Lines::open(&files.input("iot"))?, files.output().create(0)?);
    let (mut windows, mut newest, mut records) = (Windows::default(), i64::MIN, 0);
    let mut each = |line: &[u8]| {
        let reading = Reading::parse(line)?;
        records += 1;
        windows.add(&reading);
        if reading.ts > newest {
            newest = reading.ts;
            windows.close(newest - iot::BOUND, &mut out)?;
        }
        Ok(())
    };
    while lines.chunk(&mut each)? {}
    windows.close(i64::MAX, &mut out)?;
    out.flush()?;
    ensure!(windows.late == 0, "{} readings were late", windows.late);
    Ok(records)
}

fn fraud(files: &Files, model: Option<Model>) -> Result<u64> {
    let (mut lines, mut alerts) = (Lines::open(&files.input("tx"))?, Alerts::open(&files.output(), 0, model)?);
    let (mut cards, mut pending) = (FxHashMap::<Key, Card>::default(), Pending::default());
    let mut newest = i64::MIN;
    let mut decide = |transaction: Transaction| {
        let features = cards.entry(transaction.card).or_default().add(&transaction);
        alerts.add(&transaction, &features)
    };
    loop {
        let more = lines.chunk(|line| {
            let transaction = Transaction::parse(line)?;
            newest = newest.max(transaction.ts);
            pending.push(transaction);
            Ok(())
        })?;
        let watermark = if more { newest - cards::BOUND } else { i64::MAX };
        pending.release(watermark, &mut decide)?;
        if !more {
            return alerts.finish();
        }
    }
}
