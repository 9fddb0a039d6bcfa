//! Benchmarks. Each call measures both sides of a comparison and reports medians.

mod against;
mod counts;
mod engine;
mod infer;
mod kafka;
mod measure;
mod models;
mod nexmark;
mod overhead;
mod peers;
mod scaling;
mod trees;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{build_examples, build_measurements, check, measurement, setup};

use counts::CountsArgs;
use nexmark::NexmarkArgs;
use peers::PeersArgs;

#[derive(clap::Args)]
pub struct Args {
    /// What to measure: the examples on files and simulated input, the examples on Kafka, the inference operator alone,
    /// the engines of ensembles of trees alone, state larger than memory, restarts after a kill, the parsers of lines, the
    /// Nexmark queries, Tidemill beside other engines, how costs grow, what it costs to be watched, what
    /// versions, drift and labels cost, or the instructions of the hot pieces.
    #[arg(value_enum, default_value_t = What::Engine)]
    what: What,
    /// Runs of each row; the median counts.
    #[arg(long, visible_alias = "rounds", default_value_t = 5)]
    runs: usize,
    /// Writes the table to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A folder with the examples of another build, or with its peer_iot and peer_fraud. Its jobs take turns with those of
    /// this build; latencies are left out.
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    #[command(flatten)]
    nexmark: NexmarkArgs,
    #[command(flatten)]
    peers: PeersArgs,
    #[command(flatten)]
    counts: CountsArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Engine,
    Kafka,
    Infer,
    Trees,
    Memory,
    Restart,
    Nexmark,
    Parse,
    Peers,
    Scaling,
    Overhead,
    Models,
    Counts,
}

pub fn run(args: &Args) -> Result<()> {
    if args.runs == 0 {
        bail!("--runs is 0: nothing would be measured");
    }
    if args.nexmark.are_given() && args.what != What::Nexmark {
        bail!("--events and --workers are for `bench nexmark`: the others have their own");
    }
    if args.peers.are_given() && args.what != What::Peers {
        bail!("--only, --skip, --size and --list are for `bench peers`");
    }
    if args.against.is_some() && !matches!(args.what, What::Engine | What::Peers) {
        bail!(
            "--against compares the examples on files, or the jobs of `bench peers`: leave out the other benchmark's name"
        );
    }
    if args.counts.update && args.what != What::Counts {
        bail!("--update is for `bench counts`");
    }
    if args.what == What::Peers {
        return peers::run(&args.peers, args.runs, args.against.as_deref(), args.json.as_deref());
    }
    // Before minutes of set-up.
    let against = args.against.as_deref().map(|folder| against::folder(folder, &engine::EXAMPLES)).transpose()?;
    let program = printing(args)?;
    setup::run()?;
    match args.what {
        What::Counts => return counts::run(&args.counts),
        What::Scaling => return scaling::run(args.runs, args.json.as_deref()),
        What::Overhead => return overhead::run(args.runs, args.json.as_deref()),
        What::Models => return models::run(args.runs, args.json.as_deref()),
        What::Nexmark => {
            build_examples()?;
            return nexmark::run(&args.nexmark, args.runs, args.json.as_deref());
        }
        _ => build_measurements()?,
    }
    if let Some((program, option, count)) = program {
        return check(measurement(program)?.args([option, &count.to_string()]));
    }
    match args.what {
        What::Kafka => kafka::run(args.runs, args.json.as_deref()),
        What::Infer => infer::run(args.runs, args.json.as_deref()),
        What::Trees => trees::run(args.json.as_deref()),
        _ => engine::run(args.runs, against.as_deref(), args.json.as_deref()),
    }
}

/// Returns the program that is a benchmark by itself and prints what it finds, with its option for the number of runs.
fn printing(args: &Args) -> Result<Option<(&'static str, &'static str, usize)>> {
    let program = match args.what {
        // A round takes milliseconds, and the fastest counts.
        What::Parse => ("parse_cost", "--rounds", 5 * args.runs),
        What::Memory => ("memory_cost", "--runs", args.runs),
        What::Restart => ("restart_cost", "--runs", args.runs),
        _ => return Ok(None),
    };
    if args.json.is_some() {
        bail!("--json is not for `bench parse`, `bench memory` and `bench restart`, which only print");
    }
    Ok(Some(program))
}
