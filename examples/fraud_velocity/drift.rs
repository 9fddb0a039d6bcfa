//! Drift of the features and scores, if it is asked for: each version against the baseline beside it.

use std::time::Duration;

use clap::Args;
use tidemill::drift::{Baselines, DriftExt, DriftSettings};
use tidemill::prelude::*;

use crate::features::Featured;
use common::{Place, write};

/// The flags of drift.
#[derive(Clone, Debug, Args)]
pub struct DriftArgs {
    /// Where reports of drift go: each feature of each version in a window, compared with the baseline.json beside it.
    #[arg(long, requires = "models", value_name = "DIR|KAFKA")]
    drift: Option<Place>,
    /// Where it is written when a feature begins to drift, and when that ends.
    #[arg(long, requires = "drift", value_name = "DIR|KAFKA")]
    drift_alerts: Option<Place>,
    /// Length of the windows, in event time.
    #[arg(long, requires = "drift", default_value = "1day", value_parser = humantime::parse_duration, value_name = "TIME")]
    drift_window: Duration,
    /// Share of the transactions that are looked at.
    #[arg(long, requires = "drift", default_value_t = 0.1, value_name = "SHARE")]
    drift_sample: f64,
}

impl DriftArgs {
    /// Watches scored transactions, and passes them on.
    pub fn watch<'s>(
        &self,
        scored: Stream<'s, Scored<Box<Featured>>>,
        baselines: Option<&Baselines>,
    ) -> Result<Stream<'s, Scored<Box<Featured>>>, JobError> {
        let (Some(place), Some(baselines)) = (&self.drift, baselines) else { return Ok(scored) };
        let settings =
            DriftSettings { window: self.drift_window, sample: self.drift_sample, ..DriftSettings::default() };
        let drift = scored.drift("drift", baselines, &settings, |featured| &featured.features)?;
        write(drift.reports, "reported-drift", Some(place), |report| report.model.clone())?;
        write(drift.alerts, "alerted-drift", self.drift_alerts.as_ref(), |alert| alert.report.model.clone())?;
        Ok(drift.records)
    }
}
