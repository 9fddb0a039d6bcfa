//! Runs rounds of a hot piece of the engine, so that valgrind can count their instructions: `cargo xtask bench counts`.
//! Without arguments it lists the pieces, each with the number of records of a round.

use std::process::ExitCode;

use clap::Parser;
use pieces::ALL;
use tidemill::prelude::JobError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs rounds of a piece.
#[derive(Parser)]
struct Args {
    /// The piece.
    #[arg(requires = "rounds")]
    piece: Option<String>,
    /// Number of rounds.
    rounds: Option<u64>,
}

fn main() -> ExitCode {
    tidemill::cli::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), JobError> {
    let Some((name, rounds)) = args.piece.as_deref().zip(args.rounds) else {
        ALL.iter().for_each(|piece| println!("{} {}", piece.name, piece.records));
        return Ok(());
    };
    let piece = ALL.iter().find(|piece| piece.name == name);
    let piece = piece.ok_or_else(|| JobError::Invalid(format!("there is no piece \"{name}\"")))?;
    let mut round = (piece.open)()?;
    (0..rounds).try_for_each(|_| round())
}
