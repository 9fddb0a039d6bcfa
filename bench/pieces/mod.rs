//! The hot pieces of the engine, each by itself: a round of work that can be repeated.
//!
//! ```text
//! pieces ─┬─▶ benches/pieces.rs   times them (divan): `cargo bench -p bench`
//!         └─▶ count_pieces.rs     runs them in valgrind: `cargo xtask bench counts`
//! ```
//! A round is the same each time but for event times, which go on. Its number of records is small enough for valgrind,
//! which takes some fifty times as long.

mod exchange;
mod keyed;
mod parse;
pub mod records;
mod state;
mod trees;

use std::error::Error;
use std::fmt;

/// The failure of a round, or of what it works on.
pub type Failure = Box<dyn Error>;
/// A round of work, on this many records.
pub type Round = Box<dyn FnMut() -> Result<(), Failure>>;

/// Number of records of a round.
pub const RECORDS: u64 = 4_096;
/// Number of records of a batch: a source reads as many, and timely dataflow exchanges as many at a time.
const BATCH: usize = 512;

/// A hot piece of the engine.
pub struct Piece {
    /// Its name, which the file of counts has, too.
    pub name: &'static str,
    /// Makes what the rounds work on.
    pub open: fn() -> Result<Round, Failure>,
}

/// All pieces, in the order in which a record passes them.
pub const ALL: [Piece; 11] = [
    Piece { name: "json", open: parse::json },
    Piece { name: "csv", open: parse::csv },
    Piece { name: "key", open: state::keys },
    Piece { name: "exchange", open: exchange::within_process },
    Piece { name: "exchange-encoded", open: exchange::between_processes },
    Piece { name: "pending", open: state::pending },
    Piece { name: "window", open: keyed::windows },
    Piece { name: "rolling", open: keyed::rolling },
    Piece { name: "trees", open: trees::walk },
    Piece { name: "encode", open: state::encode },
    Piece { name: "delta", open: state::deltas },
];

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A sequence of numbers without pattern, the same in each run: a multiplicative generator by Lehmer.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0xD1B5_4A32_D192_ED03);
        (self.0 >> 32) % below
    }
}
