//! The Nexmark queries q0 to q8 and q11 to q13, on generated events. See docs/nexmark.md.
//!
//! ```text
//! generator ─▶ persons, auctions, bids ─▶ one of the queries ─▶ JSON lines
//! ```

mod events;
mod queries;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tidemill::prelude::*;

use events::EventArgs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a query of the Nexmark benchmark on generated events.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The query to run.
    #[arg(long, value_enum)]
    query: Query,
    #[command(flatten)]
    events: EventArgs,
    /// Where results go: a folder, as parts of JSON lines; nowhere by default.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Prints the job's metrics as JSON when it ends.
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    job: JobArgs,
}

/// The queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Query {
    /// Pass through.
    Q0,
    /// Currency conversion.
    Q1,
    /// Selection.
    Q2,
    /// Local item suggestion.
    Q3,
    /// Average price for a category.
    Q4,
    /// Hot items.
    Q5,
    /// Average selling price by seller.
    Q6,
    /// Highest bid.
    Q7,
    /// Monitor new users.
    Q8,
    /// User sessions.
    Q11,
    /// Processing-time windows.
    Q12,
    /// Bounded side input join.
    Q13,
}

fn main() -> ExitCode {
    tidemill::cli::exit(run(Args::parse()))
}

fn run(args: Args) -> Result<(), JobError> {
    args.events.check()?;
    let (job, report) = (args.job.clone(), args.report);
    // A checkpoint of another query, or of other events, is refused as one of another job.
    let name = format!("nexmark-{:?}-{}", args.query, args.events.identity()).to_lowercase();
    let snapshot = Job::new(&name, job).run(move |flow| build(flow, &args))?;
    if report {
        println!("{}", serde_json::to_string_pretty(&snapshot).map_err(JobError::setup)?);
    }
    Ok(())
}

fn build(flow: &Flow<'_>, args: &Args) -> Result<(), JobError> {
    let events = flow.source("events", &args.events.source())?;
    match args.query {
        Query::Q0 => write(queries::q0(events)?, args),
        Query::Q1 => write(queries::q1(events)?, args),
        Query::Q2 => write(queries::q2(events)?, args),
        Query::Q3 => write(queries::q3(events)?, args),
        Query::Q4 => write(queries::q4(events)?, args),
        Query::Q5 => write(queries::q5(events)?, args),
        Query::Q6 => write(queries::q6(events)?, args),
        Query::Q7 => write(queries::q7(events)?, args),
        Query::Q8 => write(queries::q8(events)?, args),
        Query::Q11 => write(queries::q11(events)?, args),
        Query::Q12 => write(queries::q12(events)?, args),
        Query::Q13 => write(queries::q13(flow, events)?, args),
    }
}

fn write<D: Data>(results: Stream<'_, D>, args: &Args) -> Result<(), JobError> {
    match &args.output {
        Some(folder) => results.sink("results", &FileSink::json_lines(folder)),
        None => results.sink("results", &NullSink::default()),
    }
}
