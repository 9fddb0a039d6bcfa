//! The rows of a checkpoint as JSON, for whoever does not have the program's types: the manifest has their shapes.
//!
//! ```text
//! layout: the shape of a type, as text ─▶ what to ask the decoder for
//! rows:   base and deltas of each worker ─▶ rows ─▶ row: JSON, by the kind of the state
//! ```

mod json;
mod layout;
mod row;
mod rows;

pub use rows::dump;

#[cfg(test)]
mod tests;
