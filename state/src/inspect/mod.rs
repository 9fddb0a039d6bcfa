//! The rows of a checkpoint as JSON, for whoever does not have the program's types: the manifest has their shapes.
//!
//! ```text
//! layout: the shape of a type, as text ─▶ what to ask the decoder for
//! rows:   base and deltas of each worker ─▶ rows ─▶ row: JSON, by the kind of the state
//! columns: the fields of rows, for formats whose rows all have the same ones
//! cursor: rows of several workers, merged ─▶ compare: two checkpoints, side by side
//! ```

mod columns;
mod compare;
mod count;
mod cursor;
mod json;
mod layout;
mod row;
mod rows;

pub use columns::{Column, ColumnType, columns};
pub use compare::{Compared, StateDifference, compare};
pub use count::{StateSize, count};
pub use rows::dump;

#[cfg(test)]
mod tests;
