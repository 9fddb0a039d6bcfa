//! Drift is shown: the last window of each version, with its features and their histograms.

use serde_json::Value as Json;
use tests::drifting::{Drifting, VERSIONS};
use tests::pause;

use super::client::get;
use super::schema::check;

/// Waits until a window of each version is over.
fn windows(job: &Drifting, path: &str) -> Json {
    loop {
        let answer = if job.listens() { get(job.address, path).json() } else { Json::Null };
        if answer["operators"]["drift"].as_object().is_some_and(|versions| versions.len() == VERSIONS.len()) {
            return answer;
        }
        pause();
    }
}

fn verdicts(window: &Json) -> Vec<(&str, &str)> {
    let features = window["features"].as_array().unwrap().iter();
    features.map(|one| (one["name"].as_str().unwrap(), one["verdict"].as_str().unwrap())).collect()
}

#[test]
fn the_last_window_of_each_version_is_shown_with_its_histograms() {
    let job = Drifting::start();
    let document = get_when_it_listens(&job, "/api/v1/openapi.json");
    for path in ["/api/v1/drift", "/api/v1/cluster/drift"] {
        let answer = windows(&job, path);
        check(&document, &document["components"]["schemas"]["Drift"], &answer, path).unwrap();
        let of = |version: usize| &answer["operators"]["drift"][VERSIONS[version]];
        let (steady, drifted, unknown) = (of(0), of(1), of(2));
        assert!(verdicts(steady).iter().all(|(_, verdict)| *verdict == "steady"), "{steady:#}");
        let found = verdicts(drifted);
        assert!(found[..3].iter().all(|(_, verdict)| *verdict == "drifted"), "{found:?}");
        assert!(found[3..].iter().all(|(_, verdict)| *verdict == "steady") && found.len() == 5, "{found:?}");
        assert_eq!(verdicts(unknown).len(), 5);
        assert!(unknown["features"][0]["reason"] == "it has none" && unknown["features"][0]["histogram"].is_null());
        let feature =
            |name: &str| drifted["features"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(
            (&feature("age")["missing_drifted"], &feature("amount")["missing_drifted"]),
            (&true.into(), &false.into())
        );
        let amount = &feature("amount")["histogram"];
        let edges = amount["edges"].as_array().unwrap().len();
        for side in ["reference", "window"] {
            let shares: Vec<f64> =
                amount[side].as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).collect();
            assert_eq!(shares.len(), edges + 1);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-3, "{side}: {shares:?}");
        }
        let country = &feature("country")["histogram"];
        let labels: Vec<&Json> = country["labels"].as_array().unwrap().iter().collect();
        let new = labels.iter().position(|label| **label == "Deutschland").unwrap();
        assert!(country["reference"][new] == 0.0 && country["window"][new].as_f64() > Some(0.2), "{country}");
        assert_eq!(labels.last(), Some(&&Json::Null), "all others");
    }
    // The next window takes the place of the last one.
    let end = |answer: &Json| answer["operators"]["drift"][VERSIONS[0]]["end_ms"].as_i64().unwrap();
    let first = end(&windows(&job, "/api/v1/drift"));
    while end(&windows(&job, "/api/v1/drift")) == first {
        pause();
    }
}

fn get_when_it_listens(job: &Drifting, path: &str) -> Json {
    while !job.listens() {
        pause();
    }
    get(job.address, path).json()
}
