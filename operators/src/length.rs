//! Lengths of time in the settings of operators, as whole milliseconds of event time. A length that is not valid is
//! refused with the name of its setting.

use std::fmt::Display;
use std::time::Duration;

use tidemill_engine::JobError;
use tidemill_engine::time::whole_ms;

/// Returns the whole milliseconds of a setting that may be zero.
pub(crate) fn length_ms(setting: impl Display, length: Duration) -> Result<i64, String> {
    whole_ms(length).map_err(|fault| format!("{setting} is {fault}"))
}

/// Returns the whole milliseconds of a setting that must be above zero.
pub(crate) fn positive_ms(setting: impl Display, length: Duration) -> Result<i64, String> {
    match length_ms(&setting, length)? {
        0 => Err(format!("{setting} is 0: it must be above 0")),
        ms => Ok(ms),
    }
}

/// Returns the error of an operator whose settings are invalid.
pub(crate) fn invalid(operator: &str, fault: impl Display) -> JobError {
    JobError::Invalid(format!("operator \"{operator}\": {fault}"))
}

#[cfg(test)]
mod tests {
    use tidemill_engine::time::{millis, minutes};

    use super::*;

    #[test]
    fn an_invalid_length_is_refused_with_its_setting_and_value() {
        assert_eq!(positive_ms("the gap", minutes(2) + millis(5)), Ok(120_005));
        assert_eq!(length_ms("the gap", Duration::ZERO), Ok(0));
        assert_eq!(length_ms("the gap", millis(i64::MAX as u64)), Ok(i64::MAX));
        let refused = |length| positive_ms("the gap", length).unwrap_err();
        assert_eq!(refused(Duration::ZERO), "the gap is 0: it must be above 0");
        assert_eq!(refused(Duration::from_micros(1_500)), "the gap is 1.5ms, but event time has whole milliseconds");
        let beyond = "the gap is 9223372036854775.808s, which is longer than all of event time";
        assert_eq!(refused(millis(i64::MAX as u64 + 1)), beyond);
    }
}
