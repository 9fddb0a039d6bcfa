//! Windows over keyed streams: tumbling, sliding, session, global and count windows, by event or processing time.
//!
//! ```text
//! keyed stream ─▶ window(assigner) ─▶ trigger, mode, allowed lateness ─▶ aggregate ─┬─▶ results
//!                                                                                   └─▶ late records
//! assigner.rs, calendar.rs, own.rs    how time is cut into windows
//! operator.rs what a program declares            logic.rs     picks one of the next three
//! each.rs     an accumulator per window          sliced.rs    sliding windows that share slices
//! counted.rs  windows of a number of records     stats.rs, functions.rs, sketches.rs    what is aggregated
//! ```
//! [`WindowLogic`] is plain [`KeyedLogic`](tidemill_engine::shell::KeyedLogic): a test can run it without a dataflow.

mod aggregate;
mod assigner;
mod calendar;
mod counted;
mod each;
mod functions;
mod logic;
mod operator;
mod own;
mod result;
#[cfg(feature = "sketches")]
mod sketches;
mod sliced;
mod span;
mod spec;
mod stats;

pub use aggregate::Aggregate;
pub use assigner::Assigner;
pub(crate) use assigner::Cut;
pub use calendar::{Period, Weekday, Zone, tzdata_version};
pub use functions::{Counting, FullWindow, TopN, counting, full_window, top_n};
pub use logic::WindowLogic;
pub use operator::{WindowExt, WindowOutput, Windows};
pub use own::{Own, WindowAssigner};
pub use result::Windowed;
#[cfg(feature = "sketches")]
pub use sketches::{DistinctOf, Quantiles, QuantilesOf, distinct_of, quantiles_of};
pub use span::Window;
pub use spec::{AccumulationMode, Firing, TimeDomain, Trigger, WindowSpec};
pub use stats::{ExactStats, Stats, StatsArray, StatsOf, stats_of};
