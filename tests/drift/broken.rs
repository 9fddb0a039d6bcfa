//! A feature that is broken on purpose, on real transactions: drift names it, and no other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill::drift::{
    Baseline, Baselines, Distribution, DriftAlert, DriftCheck, DriftExt, DriftSettings, Method, Reference,
};
use tidemill::infer::{ModelInfo, ModelRole};
use tidemill::prelude::*;
use tidemill::rolling::Rolled;

const DAY: i64 = 86_400_000;
/// 2018-04-01.
const START: i64 = 1_522_540_800_000;

features! {
    struct Velocity { amount, count_1d, mean_1d, count_7d, mean_7d }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Transaction {
    tx_id: u64,
    ts: i64,
    card_id: u64,
    amount: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Featured {
    ts: i64,
    velocity: Velocity,
}

/// Velocity of a card; from `broken_from` on, the window of a day leaves out the transaction itself.
struct CardVelocity {
    spent: Rolling<u64>,
    broken_from: i64,
}

impl KeyedLogic for CardVelocity {
    type Key = u64;
    type In = Transaction;
    type Out = Featured;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u64, Featured, ()>,
        record: Record<Transaction>,
    ) -> Result<(), LogicError> {
        let Transaction { ts, amount, .. } = record.data;
        let off_by_one = if ts >= self.broken_from { 1.0 } else { 0.0 };
        let velocity = self.spent.add(ctx, amount, |Rolled { windows, .. }| Velocity {
            amount,
            count_1d: windows[0].count as f64 - off_by_one,
            mean_1d: windows[0].mean(),
            count_7d: windows[1].count as f64,
            mean_7d: windows[1].mean(),
        })?;
        ctx.emit(Featured { ts, velocity });
        Ok(())
    }

    fn tie_break(transaction: &Transaction) -> u64 {
        transaction.tx_id
    }
}

/// Computes the features of the first four weeks.
fn featured<'s>(flow: &Flow<'s>, input: &std::path::Path, broken_from: i64) -> Result<Stream<'s, Featured>, JobError> {
    let source = FileSource::new([input], |transaction: &Transaction| EventTime(transaction.ts));
    let transactions = flow.source("transactions", &source)?.filter(|transaction| transaction.ts < START + 28 * DAY);
    let open = move |states: &mut States<'_, u64>| {
        Ok(CardVelocity { spent: Rolling::open(states, "spent", &[days(1), days(7)])?, broken_from })
    };
    let featured =
        transactions.key_by(|transaction| transaction.card_id).process("velocity", Order::EventTime, open)?.results;
    Ok(featured)
}

/// Returns what the second week was like.
fn baseline(input: std::path::PathBuf) -> Baseline {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("features");
    let to = out.clone();
    Job::new("training", JobSettings::default())
        .run(move |flow| {
            let week = |featured: &Featured| (START + 7 * DAY..START + 14 * DAY).contains(&featured.ts);
            featured(flow, &input, i64::MAX)?.filter(week).sink("features", &FileSink::json_lines(&to))
        })
        .unwrap();
    let rows: Vec<Featured> = testkit::lines(&out).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 60_000, "{}", rows.len());
    let column = |of: fn(&Velocity) -> f64| {
        let mut values = Distribution::default();
        rows.iter().for_each(|row| values.add(Some(of(&row.velocity))));
        Reference::Numbers(values)
    };
    let features = [
        ("amount", column(|one| one.amount)),
        ("count_1d", column(|one| one.count_1d)),
        ("mean_1d", column(|one| one.mean_1d)),
        ("count_7d", column(|one| one.count_7d)),
        ("mean_7d", column(|one| one.mean_7d)),
    ];
    Baseline { features: features.map(|(name, values)| (name.to_owned(), values)).into(), ..Baseline::default() }
}

#[test]
fn a_window_that_is_off_by_one_is_found_and_named() {
    let Some(input) = testkit::data("transactions.csv.gz") else { return };
    let baselines = Baselines::of(baseline(input.clone()));
    let scratch = tempfile::tempdir().unwrap();
    let alerts = scratch.path().join("alerts");
    let to = alerts.clone();
    Job::new("serving", JobSettings { workers: 2, ..JobSettings::default() })
        .run(move |flow| {
            let model = Arc::new(ModelInfo::new("m", "0"));
            let scored = featured(flow, &input, START + 21 * DAY)?
                .filter(|featured| featured.ts >= START + 14 * DAY)
                .map(move |record| Scored {
                    record,
                    score: 0.5,
                    origin: ScoreOrigin::Model,
                    model: Some(Arc::clone(&model)),
                    role: ModelRole::Primary,
                });
            let check = DriftCheck { method: Some(Method::Psi), ..DriftCheck::default() };
            let settings = DriftSettings { window: days(1), check, ..DriftSettings::default() };
            let drift = scored.drift("drift", &baselines, &settings, |featured: &Featured| &featured.velocity)?;
            drift.records.sink("records", &NullSink::default())?;
            drift.reports.sink("reports", &NullSink::default())?;
            drift.alerts.sink("alerts", &FileSink::json_lines(&to))
        })
        .unwrap();
    let found: Vec<DriftAlert> =
        testkit::lines(&alerts).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [alert] = &*found else { panic!("{found:?}") };
    assert_eq!((&*alert.report.feature, alert.firing), ("count_1d", true));
    // Two days in a row have to say so.
    assert_eq!(alert.report.start, EventTime(START + 22 * DAY));
}
