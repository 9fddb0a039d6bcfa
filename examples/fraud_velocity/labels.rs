//! Charge-backs as labels: how well each version has scored, if it is asked for, and the training set.

use std::time::Duration;

use clap::Args;
use tidemill::labels::{Labelled, LabelsExt, QualityExt, QualitySettings};
use tidemill::prelude::*;

use crate::features::{ChargeBack, Featured};
use common::{Place, write};

/// The flags of labels.
#[derive(Clone, Debug, Args)]
pub struct LabelArgs {
    /// Where reports of quality go: what the charge-backs say of the scores of each version.
    #[arg(long, value_name = "DIR|KAFKA")]
    quality: Option<Place>,
    /// Length of the windows, in the event time of charge-backs.
    #[arg(long, requires = "quality", default_value = "1day", value_parser = humantime::parse_duration, value_name = "TIME")]
    quality_window: Duration,
    /// How long after a transaction its charge-back, or that there is none, becomes known: to the bank, and to this job.
    #[arg(long, default_value = "7days", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub label_delay: Duration,
    /// How long a transaction waits for that; by default as long as --label-delay. Then nothing is known of it.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    label_wait: Option<Duration>,
}

impl LabelArgs {
    fn wait(&self) -> Duration {
        self.label_wait.unwrap_or(self.label_delay).max(millis(1))
    }

    /// Judges scored transactions by their charge-backs. `threshold` is that of an alert.
    pub fn judge<'s>(
        &self,
        scored: Stream<'s, Scored<Box<Featured>>>,
        charge_backs: Stream<'s, ChargeBack>,
        threshold: f32,
        can_change: bool,
    ) -> Result<Stream<'s, Scored<Box<Featured>>>, JobError> {
        let Some(place) = &self.quality else { return Ok(scored) };
        // Only what is asked about later waits, and not the features.
        let waiting = scored.clone().map(|scored| Scored {
            record: scored.record.transaction.tx_id,
            score: scored.score,
            origin: scored.origin,
            model: scored.model,
            role: scored.role,
        });
        let joined = waiting.key_by(|scored| scored.record).join_labels(
            "labels",
            charge_backs.key_by(|charge_back| charge_back.tx_id),
            self.wait(),
        )?;
        // Late ones are reported as those of which nothing is known.
        let labelled = joined.labelled.union(joined.late);
        let settings = QualitySettings {
            window: self.quality_window,
            threshold: f64::from(threshold),
            rollout: can_change.then(|| "score".to_owned()),
            ..QualitySettings::default()
        };
        let truth = |_: &u64, label: Option<&ChargeBack>| label.map(|label| label.is_fraud == 1);
        let judged = labelled.quality("quality", &settings, truth)?;
        write(judged.reports, "reported-quality", Some(place), |report| report.model.clone())?;
        Ok(scored)
    }

    /// Joins transactions and their features with their charge-backs, for training.
    pub fn label<'s>(
        &self,
        featured: Stream<'s, Box<Featured>>,
        charge_backs: Stream<'s, ChargeBack>,
    ) -> Result<Stream<'s, Labelled<Box<Featured>, ChargeBack>>, JobError> {
        let charge_backs = charge_backs.key_by(|charge_back| charge_back.tx_id);
        let joined = featured.key_by(|featured| featured.transaction.tx_id);
        let joined = joined.join_labels("labels", charge_backs, self.wait())?;
        Ok(joined.labelled.union(joined.late))
    }
}
