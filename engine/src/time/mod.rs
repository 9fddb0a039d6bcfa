//! The times of a job: event time, carried by every record, processing time, and `Moment`, the timely timestamp.
//!
//! ```text
//!             epoch: the consistent cut, +1 per tick of the checkpoint clock
//!               │
//! Moment { epoch, watermark }      a ≤ b  ⇔  a.epoch ≤ b.epoch ∧ a.watermark ≤ b.watermark
//!                    │
//!                  no record with an earlier event time is still to come (late records excepted)
//! ```
//! The order must be the product order. With A at (e+1, 50) and B at (e, 60) the lexicographic least
//! element is (e, 60): 60 would be taken for the watermark although A may still send 55. The meet is (e, 50).

mod durations;
mod epoch;
mod event_time;
mod moment;
mod processing_time;
mod text;

pub use durations::{days, hours, millis, minutes, secs};
#[doc(hidden)]
pub use durations::{in_ms, whole_ms};
pub use epoch::Epoch;
pub use event_time::EventTime;
pub use moment::{Moment, Unchanged};
pub use processing_time::ProcessingTime;
pub use text::TimeTextError;
