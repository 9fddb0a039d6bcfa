//! Checkpoints: how an epoch that every operator has closed becomes a commit.
//!
//! ```text
//! leader (worker 0)        worker w                          checkpoint thread of w
//!   tick e+1 ──────────────▶ sources end e
//!                            operators close e ─▶ epoch/
//!                            run/coordinator.rs ───────────▶ flush sinks, write delta of e
//!   durable(e) from all ◀────────────────────────────────── thread.rs
//!   manifest of e ─────────────────────────────────────────▶ create-only put: the commit point
//!   committed(e) ──────────▶ run/coordinator.rs ─▶ publishing.rs: a thread of each sink publishes its output of e
//! ```
//! `leader.rs` makes the decisions and does no I/O. Messages travel in a small timely dataflow of their
//! own, so that they cross processes as records do.
//! ```text
//! a start:  restore.rs ─▶ the starting point, and blobs.rs ─▶ restored.rs: the values besides keyed state
//!           ─▶ the program is built ─▶ unclaimed.rs: no restored value is dropped silently
//! ```

pub(crate) mod bases;
pub(crate) mod blobs;
pub(crate) mod history;
pub(crate) mod leader;
pub(crate) mod protocol;
pub(crate) mod publishing;
pub(crate) mod restore;
pub(crate) mod restored;
pub(crate) mod target;
pub(crate) mod thread;
pub(crate) mod unclaimed;
