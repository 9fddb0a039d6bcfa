//! Detectors of change in a stream of numbers: a loss, an error, a score. Names, defaults and arithmetic are those of
//! river 0.26.1.
//!
//! A detector sees one value at a time and is small state, which is stored with the key or the job that it belongs to.
//! After a drift it starts anew with the next value. It ignores values that are not finite, which would stay in its
//! sums for ever.

mod adwin;
mod ddm;
mod detection;
mod kswin;
mod page_hinkley;

use serde::{Deserialize, Serialize};

pub use adwin::{Adwin, AdwinSettings};
pub use ddm::{Ddm, DdmSettings};
pub use detection::{Detection, Direction, Level};
pub use kswin::{Kswin, KswinSettings};
pub use page_hinkley::{PageHinkley, PageHinkleyMode, PageHinkleySettings};

/// Any of the detectors, with its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Detector {
    /// Adaptive windows; see [`Adwin`].
    Adwin(Adwin),
    /// A cumulative sum; see [`PageHinkley`].
    PageHinkley(PageHinkley),
    /// Two samples of a window; see [`Kswin`].
    Kswin(Kswin),
    /// An error rate; see [`Ddm`].
    Ddm(Ddm),
}

impl Detector {
    /// Takes the next value, and returns what it shows, if anything.
    pub fn update(&mut self, value: f64) -> Option<Detection> {
        match self {
            Self::Adwin(detector) => detector.update(value),
            Self::PageHinkley(detector) => detector.update(value),
            Self::Kswin(detector) => detector.update(value),
            Self::Ddm(detector) => detector.update(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detector_goes_on_where_it_was_stored() {
        let detectors = [
            Detector::Adwin(Adwin::default()),
            Detector::PageHinkley(
                PageHinkley::new(PageHinkleySettings { threshold: 5.0, ..Default::default() }).unwrap(),
            ),
            Detector::Kswin(Kswin::default()),
            Detector::Ddm(Ddm::default()),
        ];
        for mut detector in detectors {
            let mut stored = detector.clone();
            let mut hits = 0;
            for i in 0..2000 {
                let value = if i < 1000 { f64::from(u8::from(i % 10 == 0)) } else { f64::from(u8::from(i % 10 < 8)) };
                let found = detector.update(value);
                hits += u32::from(
                    found.is_some_and(|found| found.level == Level::Drift && found.direction == Direction::Up),
                );
                assert_eq!(stored.update(value), found, "at {i}");
                if i % 97 == 0 {
                    assert_eq!((stored.update(f64::NAN), stored.update(f64::INFINITY)), (None, None));
                    stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
                }
            }
            assert!(hits >= 1, "{detector:?} saw nothing");
            assert_eq!(stored, detector);
        }
    }
}
