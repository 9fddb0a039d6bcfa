//! Versions of a model on a real server, while a job runs.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tidemill::control::ChangeRequest;
use tidemill::error::with_causes;
use tidemill::infer::VersionSource as _;
use tidemill::infer::server::{ServedModel, ServerSettings};
use tidemill::job::JobSetup;
use tidemill::prelude::*;

use crate::setting::{RankFeatures, WIDTH, expected, patient, rows, same, score, server};
use testkit::model_server::{Kind, MODEL};

const OUTPUT: (&str, usize, usize) = ("probabilities", 2, 1);

/// Version 2 of the server gives the probability of the other class.
#[test]
fn a_version_is_an_address_and_is_switched_to_while_the_job_runs() {
    let Some(mut running) = server(Kind::Triton) else { return };
    running.server.add_version(2).unwrap();
    let settings = ServerSettings { start_timeout: Duration::from_secs(1), ..patient() };
    for address in [&running.server.grpc, &running.server.rest] {
        let scheme = if *address == running.server.grpc { "oip+grpc" } else { "oip+http" };
        let url = format!("{scheme}://{address}/{MODEL}");
        let first = ServedModel::scoring::<RankFeatures>(&format!("{url}/1"), "features", OUTPUT, &settings).unwrap();
        names_mean_addresses(&first, &url);
    }
    let url = format!("oip+grpc://{}/{MODEL}", running.server.grpc);
    let first = ServedModel::scoring::<RankFeatures>(&format!("{url}/1"), "features", OUTPUT, &patient()).unwrap();
    let scores = scored_until_another_version(&first);
    let expected = expected(&rows(scores.len(), 7));
    let versions: Vec<Option<u64>> = scores.iter().map(|(version, _)| *version).collect();
    assert!(versions.contains(&None) && versions.contains(&Some(2)), "{versions:?}");
    for (at, ((version, found), first)) in scores.into_iter().zip(expected).enumerate() {
        let wanted = if version.is_none() { first } else { 1.0 - first };
        assert!((found - wanted).abs() < 1e-6, "{at}: {version:?} scored {found}, not {wanted}");
    }
}

fn names_mean_addresses(first: &ServedModel, url: &str) {
    let other_host = url.replacen("127.0.0.1", "localhost", 1);
    let versions = first.versions().at(NonZeroU64::new(9).unwrap(), format!("{other_host}/2"));
    let find = |name: &str| versions.resolve(&name.parse().unwrap());
    let id = find(&format!("{MODEL}/2")).unwrap();
    assert_eq!((id.version.get(), &id.sha256), (2, &format!("{url}/2")));
    assert_eq!(first.versions().resolve(&MODEL.parse().unwrap()).unwrap(), id, "the latest that the server has");
    let elsewhere = find(MODEL).unwrap();
    assert_eq!((elsewhere.version.get(), &elsewhere.sha256), (9, &format!("{other_host}/2")));
    let (here, rows) = (expected(&rows(64, 1)), rows(64, 1));
    for id in [&id, &elsewhere] {
        let loaded = versions.load(id).unwrap();
        let found = score(&mut *loaded.open().unwrap(), &rows, loaded.outputs()).unwrap();
        same(&found, &here.iter().map(|score| 1.0 - score).collect::<Vec<_>>(), 1e-6, url);
        assert_eq!((loaded.info().version, loaded.score_column()), (Some(id.version.get()), 1));
    }
    for (wanted, why) in [
        (format!("{MODEL}@champion"), "\"champion\" is an alias, and a server has none"),
        ("other/2".to_owned(), "those of \"ranking\" on a server"),
    ] {
        let error = with_causes(&find(&wanted).unwrap_err());
        assert!(error.contains(why), "{error}");
    }
    // The log of a checkpoint names version 9 at one address, and the program knows another one.
    let error = with_causes(&first.versions().load(&elsewhere).err().unwrap());
    assert!(error.contains(&format!("it was at {other_host}/2 when")) && error.contains("/9 now"), "{error}");
    let missing = find(&format!("{MODEL}/7")).unwrap();
    let error = with_causes(&versions.load(&missing).err().unwrap());
    assert!(error.contains("/ranking/7") && error.contains("Tried again for 1s"), "{error}");
}

/// Runs a job that is told to switch to version 2 after a second, until that has scored something. Returns the version and
/// score of each record, in order.
fn scored_until_another_version(first: &ServedModel) -> Vec<(Option<u64>, f32)> {
    let stop = Arc::new(AtomicBool::new(false));
    let settings = JobSettings { checkpoint_interval: Duration::from_millis(50), ..JobSettings::default() };
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let models = Models::of(first.clone()).with_versions_of(first.versions());
    let request = |id: u64| {
        // There is no canary, so the first one is refused.
        let change = [json!({ "promote": {} }), json!({ "switch": { "model": format!("{MODEL}/2") } })];
        let [operator, by] = ["rank", "a test"].map(str::to_owned);
        let change = change[id as usize].clone();
        (EventTime(0), ChangeRequest { id: id.to_string(), operator, change, by, reason: String::new() })
    };
    let requests = Generator::new(2, request).rate(1.0);
    let all = rows(100_000, 7);
    let made = move |id: u64| {
        let row = &all[id as usize * WIDTH..][..WIDTH];
        let [affinity, recent_affinity, recent_clicks, popularity, age_hours, time_of_day] =
            [0, 1, 2, 3, 4, 5].map(|at| f64::from(row[at]));
        let features = RankFeatures { affinity, recent_affinity, recent_clicks, popularity, age_hours, time_of_day };
        (EventTime(id as i64), (id, features))
    };
    let source = Generator::new(100_000, made).rate(500.0);
    let found = Arc::<Mutex<Vec<(u64, Option<u64>, f32)>>>::default();
    let seen = Arc::clone(&found);
    Job::new("ranks", setup)
        .run(move |flow| {
            flow.source("control", &requests)?.change_operators("changes")?;
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            let records = flow.source("records", &source)?;
            let scored =
                records.infer_by_key("rank", &models, &InferSettings::default(), |(id, _)| *id, |(_, row)| row)?;
            scored
                .inspect(move |scored| {
                    let Scored { record: (id, _), score, model, .. } = &scored.data;
                    let version = model.as_ref().and_then(|model| model.version);
                    seen.lock().unwrap().push((*id, version, *score));
                    stop.fetch_or(version == Some(2), Ordering::Relaxed);
                })
                .sink("nowhere", &NullSink::default())
        })
        .unwrap();
    let mut found = std::mem::take(&mut *found.lock().unwrap());
    found.sort_by_key(|(id, ..)| *id);
    assert!(found.iter().enumerate().all(|(at, (id, ..))| *id == at as u64), "each record once");
    found.into_iter().map(|(_, version, score)| (version, score)).collect()
}
