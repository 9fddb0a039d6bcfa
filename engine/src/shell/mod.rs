//! The operator shell: frontier, stash, order, timers, state and metrics of every keyed operator.
//!
//! ```text
//!              ┌──────────── shell (operator.rs, core.rs) ───────────┐
//! exchange ──▶ │ epoch/align.rs: this epoch or later                 │
//!              │   └▶ order: arrival, or held until the watermark    │──▶ results
//!              │        └▶ KeyedLogic::on_record / on_timer ─────────│──▶ side output
//!              │             └▶ context.rs: state, timers, output    │──▶ dead letters
//!              └── epoch closes: seal state ─▶ delta ────────────────┘
//! ```
//! Windows, rolling aggregates and users' own functions are plain [`KeyedLogic`] above it.

pub mod batch;
pub mod context;
pub(crate) mod core;
pub mod logic;
pub(crate) mod operator;
mod pool;
pub(crate) mod reached;
pub mod states;

pub use batch::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution, PoolSpec};
pub use context::Context;
pub use logic::{KeyedLogic, LogicError, Order};
pub use states::{ListState, MapState, ParameterStates, States, ValueState};
