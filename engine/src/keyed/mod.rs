//! Keyed operators: the shell around each of them, which handles frontier, stash, order, timers, state and metrics.
//!
//! ```text
//!              ┌──────────── shell (operator.rs, core.rs) ───────────┐
//! exchange ──▶ │ epoch/align.rs: this epoch or later                 │
//!              │   └▶ order: arrival, or pending until the watermark    │──▶ results
//!              │        └▶ KeyedLogic::on_record / on_timer ─────────│──▶ side output
//!              │             └▶ context.rs: state, timers, output    │──▶ dead letters
//!              └── epoch closes: seal state ─▶ delta ────────────────┘
//! ```
//! The shell does not know the types of a program: `machine.rs` is what it asks of the core, which does.
//! Windows, rolling aggregates and users' own functions are plain [`KeyedLogic`] that this shell runs.

mod context;
mod core;
mod exchange;
mod logic;
mod machine;
mod operator;
mod reached;
mod states;
mod waits;

pub use context::Context;
#[cfg(any(test, feature = "testing"))]
pub(crate) use core::{Core, KeyOf, Parts};
#[cfg(any(test, feature = "testing"))]
pub(crate) use exchange::ByKey;
pub use logic::{KeyedLogic, LogicError, Order};
pub use operator::KeyedOutput;
#[cfg(any(test, feature = "testing"))]
pub(crate) use reached::Reached;
pub use states::{ListState, MapState, ParameterStates, States, ValueState};
