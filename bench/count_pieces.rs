//! Runs rounds of a hot piece of the engine, so that valgrind can count their instructions: `cargo xtask bench counts`.
//! Without arguments it prints the number of records of a round, and the pieces.

use clap::Parser;
use pieces::{ALL, Failure, RECORDS};

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

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let Some((name, rounds)) = args.piece.as_deref().zip(args.rounds) else {
        println!("{RECORDS}");
        ALL.iter().for_each(|piece| println!("{piece}"));
        return Ok(());
    };
    let piece = ALL.iter().find(|piece| piece.name == name);
    let piece = piece.ok_or_else(|| format!("there is no piece \"{name}\""))?;
    let mut round = (piece.open)()?;
    (0..rounds).try_for_each(|_| round())
}
