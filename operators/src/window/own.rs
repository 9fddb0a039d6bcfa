//! Windows that a program cuts itself.

use std::fmt;

use tidemill_engine::EventTime;

use super::span::Window;

/// Cuts time into windows as a program needs them: shifts of a factory, the opening hours of a market, the days of another
/// calendar.
///
/// ```
/// use tidemill_engine::EventTime;
/// use tidemill_engine::time::hours;
/// use tidemill_operators::window::{Assigner, Window, WindowAssigner};
///
/// /// Three shifts a day, in UTC, and the day as a whole.
/// struct Shifts;
///
/// impl WindowAssigner for Shifts {
///     fn assign(&self, time: EventTime, found: &mut dyn FnMut(Window)) {
///         for length in [hours(8), hours(24)] {
///             let start = EventTime(time.0 - time.0.rem_euclid(length.as_millis() as i64));
///             found(Window { start, end: start + length });
///         }
///     }
///
///     fn parameters(&self) -> String {
///         "three shifts and the day".to_owned()
///     }
/// }
///
/// let assigner: Assigner = Shifts.into(); // or `.window("shifts", Shifts)`
/// ```
///
/// # Contract
/// * The same time has the same windows, at any worker and after any restart: nothing but `self` and `time` may count.
/// * Each window holds the time: `start ≤ time < end`. A record for whose time another one is given is a dead letter.
/// * There may be several, also some within others, or none: then the record goes to the `late` output, as one that no window
///   takes.
///
/// Known limits: windows do not merge (sessions do), and sliding ones do not share slices: each has an accumulator.
pub trait WindowAssigner: Send + Sync + 'static {
    /// Hands each window of `time` to `found`.
    fn assign(&self, time: EventTime, found: &mut dyn FnMut(Window));

    /// How windows are cut, in words, with every number that matters. A checkpoint keeps it, and a program with another text is
    /// refused: its windows would be others.
    fn parameters(&self) -> String;

    /// Says why it makes no sense, when the program is built.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A [`WindowAssigner`] as an [`Assigner`](super::Assigner) holds it. It lives as long as the process.
#[derive(Clone, Copy)]
pub struct Own(pub(super) &'static dyn WindowAssigner);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({:?})", self.0.parameters())
    }
}

/// By their parameters.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        self.0.parameters() == other.0.parameters()
    }
}

impl Eq for Own {}
