//! The command line of `tidemill parity`.

use std::path::PathBuf;
use std::str::FromStr;

/// What is compared, and how.
#[derive(clap::Args)]
pub struct ParityArgs {
    /// Features as they were served: a file or a folder of JSON lines (.jsonl, .jsonl.gz) or Parquet.
    pub served: PathBuf,
    /// The same features recomputed from history: a file or a folder, too.
    pub recomputed: PathBuf,
    /// Field that identifies a row; give it again for each further field of the key.
    #[arg(long = "key", value_name = "NAME", required = true)]
    pub keys: Vec<String>,
    /// Compare only this feature; give it again for each further one.
    #[arg(long = "feature", value_name = "NAME")]
    pub features: Vec<String>,
    /// Share of the keys that are compared, chosen by their hash: 1% or 0.01.
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    pub sample: Share,
    /// Largest relative difference of two numbers that is no mismatch.
    #[arg(long, value_name = "RATIO", default_value = "0")]
    pub tolerance: Tolerance,
    /// Number of differing rows that are printed for each feature.
    #[arg(long, value_name = "N", default_value = "3")]
    pub rows: usize,
    /// End with 1 also for recomputed rows that were never served.
    #[arg(long)]
    pub strict: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A share of the keys: above 0, and at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().ok().map(|percent| percent / 100.0),
            // A bare 1 is refused: some mean all keys by it, others one of a hundred.
            None => text.parse::<f64>().ok().filter(|share| *share < 1.0),
        };
        let share = share.filter(|share| *share > 0.0 && *share <= 1.0);
        share.map(Self).ok_or_else(|| "give a share above 0 and at most 100%, as 1% or 0.01".to_owned())
    }
}

/// The relative difference of two numbers that is no mismatch: at least 0, and below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance(pub f64);

impl FromStr for Tolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..1.0).contains(ratio));
        ratio.map(Self).ok_or_else(|| "give a number from 0 to below 1, as 1e-9".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages_or_fractions() {
        let of = |text: &str| text.parse::<Share>().ok().map(|share| share.0);
        assert_eq!([of("1%"), of("0.01"), of("100%"), of("12.5%")], [Some(0.01), Some(0.01), Some(1.0), Some(0.125)]);
        for wrong in ["1", "0", "0%", "101%", "-1%", "NaN", "NaN%", "inf", "%", ""] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert!("1".parse::<Tolerance>().is_err() && "-0.1".parse::<Tolerance>().is_err());
        assert_eq!("1e-9".parse(), Ok(Tolerance(1e-9)));
    }
}
