//! Checkpoints: their parts, the store that keeps them, their retention, and how a start takes over from one.

pub(crate) mod catalog;
pub(crate) mod claim;
pub(crate) mod delta;
pub(crate) mod examine;
mod history;
pub(crate) mod inspection;
mod json;
pub(crate) mod manifest;
pub(crate) mod plan;
pub(crate) mod retention;
pub(crate) mod savepoint;
pub(crate) mod store;
pub(crate) mod take_over;
pub(crate) mod work_dir;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
