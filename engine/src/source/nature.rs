//! The statements of a source about its event times.

use std::time::Duration;

use super::Source;
use crate::alignment::Reach;
use crate::error::JobError;
use crate::time::{EventTime, whole_ms};

/// The statements of a source about its event times, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) lead_ms: i64,
    pub(super) out_of_orderness_ms: i64,
    pub(super) max_ahead_ms: Option<i64>,
}

impl Nature {
    /// Reads the statements of `source`, whose name in the job is `name`.
    ///
    /// # Errors
    /// When one of its durations is not a whole number of milliseconds, or too long.
    pub(super) fn of(name: &str, source: &impl Source) -> Result<Self, JobError> {
        let ms = |setting: &str, length: Duration| {
            whole_ms(length).map_err(|why| JobError::Invalid(format!("source \"{name}\": its {setting} is {why}")))
        };
        Ok(Self {
            lead_ms: ms("lead", source.lead())?,
            out_of_orderness_ms: ms("max_out_of_orderness", source.max_out_of_orderness())?,
            max_ahead_ms: source.max_ahead().map(|length| ms("max_ahead", length)).transpose()?,
        })
    }

    /// Returns the progress of the source at `watermark`, without its lead, to be compared with other sources.
    pub(super) fn reach(self, watermark: EventTime) -> Reach {
        let watermark = watermark.plus_ms(-self.lead_ms);
        Reach { watermark, latest: watermark.plus_ms(self.out_of_orderness_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ConnectorError, ErrorKind};
    use crate::source::{Batch, Next, SourceContext, SourceReader};

    /// A source that states these three durations: lead, out-of-orderness, maximum ahead.
    struct Saying([Duration; 3]);
    struct Nobody;

    impl Source for Saying {
        type Item = u8;
        type Reader = Nobody;

        fn lead(&self) -> Duration {
            self.0[0]
        }
        fn max_out_of_orderness(&self) -> Duration {
            self.0[1]
        }
        fn max_ahead(&self) -> Option<Duration> {
            Some(self.0[2])
        }
        fn open(&self, _: SourceContext) -> Result<Nobody, ConnectorError> {
            Ok(Nobody)
        }
    }

    impl SourceReader for Nobody {
        type Item = u8;

        fn read(&mut self, _: &mut Batch<u8>) -> Result<Next, ConnectorError> {
            Ok(Next::Done)
        }
        fn position(&self) -> Result<Vec<u8>, ConnectorError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn invalid_durations_are_refused_with_source_setting_and_value() {
        let good = [1, 2, 3].map(Duration::from_millis);
        let nature = Nature::of("clicks", &Saying(good)).unwrap();
        assert_eq!((nature.lead_ms, nature.out_of_orderness_ms, nature.max_ahead_ms), (1, 2, Some(3)));
        for (at, setting) in ["lead", "max_out_of_orderness", "max_ahead"].into_iter().enumerate() {
            for (bad, shown) in
                [(Duration::from_micros(1_500), "1.5ms"), (Duration::from_secs(u64::MAX), "18446744073709551615s")]
            {
                let mut said = good;
                said[at] = bad;
                let error = Nature::of("clicks", &Saying(said)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert!(error.to_string().contains(&format!("source \"clicks\": its {setting} is {shown}")), "{error}");
            }
        }
    }
}
