//! Windows that a program cuts itself.

use std::fmt;

use tidemill_engine::EventTime;

use super::span::Window;

/// An assigner that a program defines itself, for windows such as the shifts of a factory, the opening hours of a
/// market or the days of another calendar.
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
/// * The same time has the same windows on every worker and after every restart: the result depends only on `self` and
///   `time`.
/// * Each window contains the time: `start ≤ time < end`. A record whose time is given any other window becomes a dead
///   letter.
/// * A time may have several windows, also some within others, or none. A record without a window goes to the `late`
///   output.
///
/// Known limits: the windows are never merged, as sessions are, and windows that overlap do not share slices: each has
/// its own accumulator.
pub trait WindowAssigner: Send + Sync + 'static {
    /// Calls `found` with each window of `time`.
    fn assign(&self, time: EventTime, found: &mut dyn FnMut(Window));

    /// Describes in words how windows are cut, with every number that they depend on. A checkpoint keeps this text, and
    /// a program with a different text is refused, because its windows would be different.
    fn parameters(&self) -> String;

    /// Checks the settings of the assigner when the program is built. By default there is nothing to check.
    ///
    /// # Errors
    /// When a setting is invalid, with what is wrong.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A [`WindowAssigner`] of the program, inside an [`Assigner`](super::Assigner). It lives as long as the process.
#[derive(Clone, Copy)]
pub struct Own(pub(super) &'static dyn WindowAssigner);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({:?})", self.0.parameters())
    }
}

/// Two of them are equal if their parameters are.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        self.0.parameters() == other.0.parameters()
    }
}

impl Eq for Own {}
