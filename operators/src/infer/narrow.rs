//! Rounding to f32.

/// Returns the nearest f32; none for a finite number beyond the range of an f32. NaN and infinities stay what they are.
pub(super) fn narrow(value: f64) -> Option<f32> {
    let narrowed = value as f32;
    (narrowed.is_finite() || !value.is_finite()).then_some(narrowed)
}

/// Returns the message for a value for which [`narrow`] returned none.
pub(super) fn beyond(what: &str, value: f64) -> String {
    format!("{what} is {value:e}: an f32 holds no more than {:e}", f32::MAX)
}
