//! How states change between programs: names, shapes and versions of states, whether a program can read the stored rows
//! of a checkpoint, and the upgrade of older rows.

pub(crate) mod changes;
pub(crate) mod fit;
mod node;
pub(crate) mod parameters;
mod probe;
pub(crate) mod shape;
pub(crate) mod spec;
pub(crate) mod versions;
