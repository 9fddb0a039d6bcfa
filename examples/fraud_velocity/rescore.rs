//! Corrections after a roll-back: what the records that a bad version has scored get from another one. The features are
//! computed again from the history; they are the same, because they are computed by the same operators.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tidemill::infer::{ModelRef, VersionChoice};
use tidemill::join::{Between, JoinExt, JoinKind, Joined, TimeOffset};
use tidemill::prelude::*;

use crate::features::Featured;
#[cfg(feature = "kafka")]
use common::topic_source;
use common::{Place, write};

/// How far predictions may be from the order of their event times. Each epoch is a file, and each file is in order but for
/// what the batches of other workers overtook.
const OUT_OF_ORDER: Duration = Duration::from_secs(86_400);

/// The flags of a run that corrects predictions.
#[derive(Clone, Debug, Args)]
pub struct RescoreArgs {
    /// Predictions of an earlier run over the same input: those of --bad-version are scored again.
    #[arg(
        long,
        requires_all = ["bad_version", "corrections"],
        conflicts_with_all = ["predictions", "alerts", "features", "drift"],
        value_name = "DIR|KAFKA"
    )]
    rescore: Option<Place>,
    /// The version whose predictions are corrected, as fraud_velocity/3.
    #[arg(long, requires = "rescore", value_name = "NAME")]
    bad_version: Option<ModelRef>,
    /// Where the corrections go, each with the old score and the new one.
    #[arg(long, requires = "rescore", value_name = "DIR|KAFKA")]
    corrections: Option<Place>,
}

/// A prediction as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Earlier {
    tx_id: u64,
    ts: i64,
    card_id: u64,
    score: f32,
    model: String,
}

/// A record to be scored again.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Again {
    earlier: Earlier,
    featured: Box<Featured>,
}

/// A correction: whoever has acted on the old score can act on it. Written twice, it is the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Correction {
    tx_id: u64,
    ts: i64,
    card_id: u64,
    old_score: f32,
    old_model: String,
    /// None if the input has no such transaction any more.
    score: Option<f32>,
    model: Option<String>,
}

impl RescoreArgs {
    /// Returns whether predictions are to be corrected.
    pub fn is_asked(&self) -> bool {
        self.rescore.is_some()
    }

    /// Scores the records that the bad version has scored, and writes the corrections.
    pub fn build<'s>(
        &self,
        flow: &Flow<'s>,
        featured: Stream<'s, Box<Featured>>,
        models: &Models,
        settings: &InferSettings,
    ) -> Result<(), JobError> {
        let (Some(place), Some(bad)) = (&self.rescore, &self.bad_version) else { return Ok(()) };
        if !matches!(bad.version, VersionChoice::Number(_)) {
            return Err(JobError::Invalid(format!(
                "--bad-version {bad}: predictions name versions by their numbers, so write one, as {}/3",
                bad.name
            )));
        }
        // A prediction names its model as fraud_velocity/3@2f0c…
        let bad = format!("{bad}@");
        let earlier = earlier(flow, place)?.filter(move |earlier| earlier.model.starts_with(&bad));
        let joined = featured.key_by(|featured| featured.transaction.tx_id).interval_join(
            "earlier",
            earlier.key_by(|earlier| earlier.tx_id),
            Between::new(TimeOffset::SAME, TimeOffset::SAME),
            JoinKind::Right,
        )?;
        let (found, lost) = joined.results.split(|joined| matches!(joined, Joined::Both(..)));
        let again = found.flat_map(|joined| match joined {
            Joined::Both(featured, earlier) => Some(Again { earlier, featured }),
            Joined::Left(_) | Joined::Right(_) => None,
        });
        let scored = again.infer_by_key(
            "score",
            models,
            settings,
            |again| again.featured.transaction.card_id,
            |again| &again.featured.features,
        )?;
        let corrected = scored.map(|scored| {
            let model = scored.model.map(|model| model.to_string());
            Correction::of(scored.record.earlier, Some(scored.score), model)
        });
        // Nothing is left out silently: what cannot be scored again has no new score.
        let unknown = lost.flat_map(|joined| match joined {
            Joined::Right(earlier) => Some(Correction::of(earlier, None, None)),
            Joined::Both(..) | Joined::Left(_) => None,
        });
        let late = joined.late.flat_map(|late| match late {
            Either::Second(earlier) => Some(Correction::of(earlier, None, None)),
            Either::First(_) => None,
        });
        let all = corrected.union(unknown).union(late);
        write(all, "corrections", self.corrections.as_ref(), |correction| correction.card_id.to_string())
    }
}

impl Correction {
    fn of(earlier: Earlier, score: Option<f32>, model: Option<String>) -> Self {
        let Earlier { tx_id, ts, card_id, score: old_score, model: old_model } = earlier;
        Self { tx_id, ts, card_id, old_score, old_model, score, model }
    }
}

/// Returns the files that a job has published in a folder, in the order of epochs.
fn parts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut parts: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    parts.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    parts.sort_unstable();
    Ok(parts)
}

fn earlier<'s>(flow: &Flow<'s>, place: &Place) -> Result<Stream<'s, Earlier>, JobError> {
    let event_time = |earlier: &Earlier| EventTime(earlier.ts);
    match place {
        Place::Path(folder) => {
            let parts = parts(folder).map_err(|source| JobError::Io {
                what: format!("list the predictions in \"{}\"", folder.display()),
                source,
            })?;
            flow.source("predictions", &FileSource::new(parts, event_time).max_out_of_orderness(OUT_OF_ORDER))
        }
        #[cfg(feature = "ingest")]
        Place::Http(url) => Err(JobError::Invalid(format!("--rescore: {url}: predictions are not sent"))),
        #[cfg(feature = "mqtt")]
        Place::Mqtt(url) => Err(JobError::Invalid(format!("--rescore: {url}: predictions are not in MQTT"))),
        #[cfg(feature = "kafka")]
        Place::Kafka(url) => {
            let source = topic_source(url, |line: Earlier| line, event_time)?;
            flow.source("predictions", &source.max_out_of_orderness(OUT_OF_ORDER))
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(url) => Err(JobError::Invalid(format!("--rescore does not read tables ({url})"))),
        #[cfg(feature = "redis")]
        Place::Redis(url) => Err(JobError::Invalid(format!("--rescore does not read Redis ({url})"))),
        #[cfg(feature = "webhook")]
        Place::Webhook(url) => Err(JobError::Invalid(format!("--rescore does not read from a server ({url})"))),
    }
}
