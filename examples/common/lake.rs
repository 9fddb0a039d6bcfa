//! Predictions for a warehouse: Parquet, in a folder for each day.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tidemill::file::RollSettings;
use tidemill::prelude::*;

/// The flags of predictions for a warehouse.
#[derive(Clone, Debug, Args)]
pub struct LakeArgs {
    /// Writes predictions here, too: as parts of Parquet, in a folder for each day of their event time.
    #[arg(long, value_name = "DIR", conflicts_with = "features")]
    lake: Option<PathBuf>,
    /// Time for which predictions gather in a part.
    #[arg(long, requires = "lake", default_value = "1m", value_parser = humantime::parse_duration, value_name = "TIME")]
    lake_roll: Duration,
}

impl LakeArgs {
    /// Writes predictions, if that is asked for.
    pub fn write<D: Data>(&self, predictions: &Stream<'_, D>) -> Result<(), JobError> {
        let Some(folder) = &self.lake else { return Ok(()) };
        let roll = RollSettings { interval: self.lake_roll, ..RollSettings::default() };
        predictions.clone().sink("lake", &FileSink::parquet(folder).partitioned_by_day().roll(roll))
    }
}
