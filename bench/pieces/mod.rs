//! The hot pieces of the engine, each by itself: a round of work that can be repeated.
//!
//! ```text
//! pieces ─┬─▶ benches/pieces.rs   times them (divan): `cargo bench -p bench`
//!         └─▶ count_pieces.rs     runs them in valgrind: `cargo xtask bench counts`
//! ```
//! A round is the same each time but for event times, which go on. Its numbers of records are small enough for valgrind,
//! which takes some fifty times as long.

mod keyed;
mod state;

use std::fmt;

use tidemill::prelude::JobError;

/// A round of work.
pub type Round = Box<dyn FnMut() -> Result<(), JobError>>;

/// A hot piece of the engine.
pub struct Piece {
    /// Its name, which the files of counts have, too.
    pub name: &'static str,
    /// Number of records of a round.
    pub records: u64,
    /// Makes what the rounds work on.
    pub open: fn() -> Result<Round, JobError>,
}

/// All pieces. Not here: parsing, whose benchmark compares several parsers, and the walk through the trees of a model.
pub const ALL: [Piece; 6] = [
    Piece { name: "key", records: state::RECORDS, open: state::keys },
    Piece { name: "pending", records: state::RECORDS, open: state::pending },
    Piece { name: "value", records: state::RECORDS, open: state::values },
    Piece { name: "delta", records: state::RECORDS, open: state::deltas },
    Piece { name: "window", records: keyed::RECORDS, open: keyed::windows },
    Piece { name: "rolling", records: keyed::RECORDS, open: keyed::rolling },
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
