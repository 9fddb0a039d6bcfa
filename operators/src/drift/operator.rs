//! Drift of a stream of scored records.
//!
//! ```text
//! scored ─▶ sample ─▶ by version and worker: windows, counted ─▶ by version: the same windows, added up
//!   ─▶ compared with the baseline of the version: reports ─▶ by feature: so many in a row ─▶ alerts
//! ```
//! Counts add up to the bit in any order, so reports do not depend on the number of workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::{Data, JobError, Record, Stream};

use super::baseline::Baseline;
use super::collect::{Count, Rows, Seen};
use super::compare::DriftCheck;
use super::error::DriftError;
use super::missing::MissingShare;
use super::parts::PartLogic;
use super::report::{DriftAlert, DriftReport, Looks, Thresholds, Verdict};
use super::sample::Sampler;
use super::shown::shown;
use super::threshold::Threshold;
use crate::infer::{FeatureKind, Features, ModelInfo, Scored};
use crate::length::invalid;
use crate::window::{Assigner, WindowExt, Windowed};

/// Settings of drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// Length of a window, in event time; default: an hour.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Share of the records that are looked at, 0 to 1; default: all. Which ones they are depends on their event time and
    /// score alone.
    pub sample: f64,
    /// Least number of records of a window that says something; default: 1,000.
    pub min_records: u64,
    /// Number of windows in a row that have to agree until an alert begins or ends; default: 2.
    pub consecutive: u32,
    /// How a feature is compared for which the baseline says nothing else.
    pub check: DriftCheck,
    /// Difference of the shares of missing values that is drift; default: 0.05.
    pub missing_threshold: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(3600),
            sample: 1.0,
            min_records: 1000,
            consecutive: 2,
            check: DriftCheck::default(),
            missing_threshold: MissingShare::THRESHOLD,
        }
    }
}

type Find = dyn Fn(&ModelInfo) -> Result<Arc<Baseline>, String> + Send + Sync;

/// The baselines of the versions.
#[derive(Clone)]
pub struct Baselines(Arc<Find>);

impl Baselines {
    /// Compares all versions with the same baseline.
    #[must_use]
    pub fn of(baseline: Baseline) -> Self {
        let baseline = Arc::new(baseline);
        Self(Arc::new(move |_| Ok(Arc::clone(&baseline))))
    }

    /// Finds the baseline of a version on the worker, when the first window of the version is over. It must be the same
    /// whenever it is asked for. An error is the reason why that window is inconclusive, and the next one asks again.
    pub fn found_by(find: impl Fn(&ModelInfo) -> Result<Baseline, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |info| find(info).map(Arc::new)))
    }
}

/// What came out of drift.
pub struct DriftOutput<'s, D: Data, S: Data> {
    /// The records, unchanged.
    pub records: Stream<'s, Scored<D, S>>,
    /// A report for each feature, and for the scores, of each version and window.
    pub reports: Stream<'s, DriftReport>,
    /// What begins to drift, and what ends.
    pub alerts: Stream<'s, DriftAlert>,
}

/// Adds drift to streams of scored records.
pub trait DriftExt<'s, D: Data> {
    /// Compares the features and scores of each version in windows of event time with those that it was trained on.
    /// * Time: a report and an alert have the last millisecond of the window as their event time.
    /// * State: for each version, window that is open and feature, what [`Distribution`](super::Distribution) keeps, once for
    ///   each worker.
    /// * Guarantee: each record of the sample is counted once. Late ones are not counted, as by any window.
    ///
    /// # Errors
    /// When a setting is out of its range, the name is taken, or the state cannot be opened.
    fn drift<F: Features>(
        self,
        name: &str,
        baselines: &Baselines,
        settings: &DriftSettings,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<DriftOutput<'s, D, f32>, JobError>;
}

impl<'s, D: Data> DriftExt<'s, D> for Stream<'s, Scored<D>> {
    fn drift<F: Features>(
        self,
        name: &str,
        baselines: &Baselines,
        settings: &DriftSettings,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<DriftOutput<'s, D, f32>, JobError> {
        settings.check(name)?;
        let kind = |at: usize| F::KINDS.get(at).copied().unwrap_or_default();
        let of = |wanted: FeatureKind| {
            F::NAMES.iter().enumerate().filter(|(at, _)| kind(*at) == wanted).map(|(_, name)| *name).collect()
        };
        let looks = Looks {
            numbers: of(FeatureKind::Number),
            texts: of(FeatureKind::Text),
            min_records: settings.min_records,
            check: settings.check,
            missing_threshold: settings.missing_threshold,
        };
        let board = self.flow().board("drift", name);
        let window = Assigner::tumbling(settings.window);
        let cut = window.cut().map_err(|fault| invalid(name, fault))?;
        let mut sampler = Sampler::new::<F>(settings.sample, cut, self.flow());
        let (records, rows) = self.derive_batches(move |scored| sampler.rows(scored, &features));
        let parts = rows.key_by(|rows: &Rows| (rows.model.clone(), rows.part)).process(
            &format!("{name}-parts"),
            Order::Arrival,
            |states| PartLogic::open(states, cut, F::NAMES),
        )?;
        let whole = parts
            .results
            .key_by(|(model, _): &(String, Arc<Seen>)| model.clone())
            .window(&format!("{name}-windows"), window)
            .aggregate(Count::of(F::NAMES))?;
        let mut known: BTreeMap<String, (Arc<Baseline>, Thresholds)> = BTreeMap::new();
        let baselines = baselines.clone();
        let reports = whole.results.flat_map(move |window: Windowed<String, _>| {
            let times = (window.window.start, window.window.end);
            if !known.contains_key(&window.key) {
                match (baselines.0)(&info_of(&window.key)) {
                    Ok(baseline) => _ = known.insert(window.key.clone(), (baseline, Thresholds::default())),
                    // It is looked for again in the next window.
                    Err(reason) => {
                        let nothing = &mut Thresholds::default();
                        let reports = looks.report(&window.key, times, &window.value, Err(&reason), nothing);
                        board.show(&window.key, shown(&looks, &reports, &window.value, None));
                        return reports;
                    }
                }
            }
            let Some((baseline, learned)) = known.get_mut(&window.key) else { return Vec::new() };
            let reports = looks.report(&window.key, times, &window.value, Ok(baseline), learned);
            board.show(&window.key, shown(&looks, &reports, &window.value, Some(baseline)));
            reports
        });
        let consecutive = settings.consecutive;
        let alerts = reports
            .clone()
            .key_by(|report: &DriftReport| (report.model.clone(), report.feature.clone()))
            .process(&format!("{name}-alerts"), Order::EventTime, move |states| {
                AlertLogic::open(states, consecutive)
            })?;
        Ok(DriftOutput { records, reports, alerts: alerts.results })
    }
}

impl DriftSettings {
    fn check(&self, name: &str) -> Result<(), JobError> {
        let Self { sample, consecutive, missing_threshold, check, .. } = self;
        if !(*sample > 0.0 && *sample <= 1.0) {
            return Err(invalid(name, format!("the sample of drift is {sample}: it is a share above 0, at most 1")));
        }
        if *consecutive == 0 {
            return Err(invalid(name, "consecutive is 0: at least one window has to say that there is drift"));
        }
        if !(*missing_threshold > 0.0 && *missing_threshold <= 1.0) {
            let why = "it is a difference of shares, above 0";
            return Err(invalid(name, format!("missing_threshold is {missing_threshold}: {why}")));
        }
        if let DriftCheck { method: Some(method), threshold: Threshold::Learned, .. } = check
            && !method.is_learnable()
        {
            return Err(invalid(name, DriftError::NotLearned { method: *method }.to_string()));
        }
        Ok(())
    }
}

/// Returns the name, version and hash of a model that is named as [`ModelInfo`] shows itself.
fn info_of(shown: &str) -> ModelInfo {
    let (model, hash) = shown.rsplit_once('@').unwrap_or((shown, ""));
    match model.rsplit_once('/').map(|(name, version)| (name, version.parse())) {
        Some((name, Ok(version))) => ModelInfo { version: Some(version), ..ModelInfo::new(name, hash) },
        _ => ModelInfo::new(model, hash),
    }
}

/// How often in a row a feature has drifted, or has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Run {
    firing: bool,
    /// Number of windows that say something else.
    windows: u32,
}

/// Says when a feature begins to drift, and when it ends.
struct AlertLogic {
    run: ValueState<(String, String), Run>,
    consecutive: u32,
}

impl AlertLogic {
    fn open(states: &mut States<'_, (String, String)>, consecutive: u32) -> Result<Self, JobError> {
        Ok(Self { run: states.value("run")?, consecutive })
    }
}

impl KeyedLogic for AlertLogic {
    type Key = (String, String);
    type In = DriftReport;
    type Out = DriftAlert;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, (String, String), DriftAlert, ()>,
        record: Record<DriftReport>,
    ) -> Result<(), LogicError> {
        let report = record.data;
        let drifted = match report.verdict {
            Verdict::Drifted => true,
            Verdict::Steady => false,
            Verdict::Inconclusive => return Ok(()),
        };
        let consecutive = self.consecutive;
        let changed = self.run.update(ctx, Run::default, |run| {
            run.windows = if drifted == run.firing { 0 } else { run.windows + 1 };
            let changes = run.windows >= consecutive;
            if changes {
                *run = Run { firing: drifted, windows: 0 };
            }
            changes
        })?;
        if changed {
            ctx.emit(DriftAlert { firing: drifted, windows: consecutive, report });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Method;

    #[test]
    fn a_threshold_that_is_never_learned_is_refused_early() {
        let with = |method: Option<Method>| {
            let check = DriftCheck { method, threshold: Threshold::Learned, ..DriftCheck::default() };
            DriftSettings { check, ..DriftSettings::default() }.check("drift")
        };
        assert!(with(None).is_ok() && with(Some(Method::KolmogorovSmirnov)).is_ok());
        let error = with(Some(Method::ChiSquare)).unwrap_err().to_string();
        assert!(error.contains("ChiSquare gives a p-value"), "{error}");
    }

    #[test]
    fn a_learned_threshold_is_data() {
        let settings: DriftSettings = serde_json::from_str(r#"{"check": {"threshold": "learned"}}"#).unwrap();
        assert_eq!(settings.check.threshold, Threshold::Learned);
        assert_eq!(serde_json::to_value(settings).unwrap()["check"]["threshold"], "learned");
    }
}
