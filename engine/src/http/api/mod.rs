//! The answers of `/api/v1`: each is data that serde writes, in a file of its own. `openapi.json` describes them.

pub(super) mod checkpoints;
pub(super) mod graph;
pub(super) mod history;
pub(super) mod hotkeys;
pub(super) mod inference;
pub(super) mod job;
pub(super) mod logs;
pub(super) mod operators;
