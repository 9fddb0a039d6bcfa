//! Checkpoints: how an epoch that every operator has closed becomes a commit.
//!
//! ```text
//! leader (worker 0)        worker w                          checkpoint thread of w
//!   tick e+1 ──────────────▶ sources end e
//!                            operators close e ─▶ epoch/
//!                            run/coordinator.rs ───────────▶ flush sinks, write delta of e
//!   durable(e) from all ◀────────────────────────────────── thread.rs
//!   manifest of e ─────────────────────────────────────────▶ create-only put: the commit point
//!   committed(e) ──────────▶ run/coordinator.rs ───────────▶ publish what was staged for e
//! ```
//! `leader.rs` decides and does no I/O; messages travel in a small timely dataflow of their own, so
//! they cross processes as records do.
//! ```text
//! a start:  restore.rs ─▶ what to start from, and blobs.rs ─▶ restored.rs: what old workers left besides keyed state
//!           ─▶ the program is built ─▶ unclaimed.rs: nothing of that is lost unseen
//! ```

pub(crate) mod bases;
pub(crate) mod blobs;
pub(crate) mod leader;
pub(crate) mod protocol;
pub(crate) mod restore;
pub(crate) mod restored;
pub(crate) mod target;
pub(crate) mod thread;
pub(crate) mod unclaimed;
