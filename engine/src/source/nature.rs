//! What a source says of its event times.

use crate::alignment::Reach;
use crate::time::EventTime;

/// What a source says of its event times.
#[derive(Clone, Copy)]
pub(super) struct Nature {
    pub(super) lead_ms: i64,
    pub(super) out_of_orderness_ms: i64,
}

impl Nature {
    /// How far a source has come at `watermark`, to be compared with others.
    pub(super) fn reach(self, watermark: EventTime) -> Reach {
        let watermark = watermark.plus_ms(-self.lead_ms);
        Reach { watermark, latest: watermark.plus_ms(self.out_of_orderness_ms) }
    }
}
