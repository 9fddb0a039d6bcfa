//! Wrong output is found: each test changes right output in one place.

use anyhow::Result;
use serde_json::json;

use super::*;

/// The oracle's files for two windows and three transactions.
fn expected() -> Result<(tempfile::TempDir, Expected)> {
    let folder = tempfile::tempdir()?;
    let row = |machine: f64, start: f64| {
        [machine, start, 2.0, 60.0, 1.0, 61.0, 59.0, 0.5, 0.0, 0.5, 0.5, 101.0, 2.0, 103.0, 99.0]
    };
    let bytes: Vec<u8> =
        [row(7.0, 10_000.0), row(7.0, 20_000.0)].concat().iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(folder.path().join("windows.f64"), bytes)?;
    let found = json!({ "records": 3, "sums": vec![10.0; 16], "rule": [1, 2], "at_the_limit": [2], "model": [1] });
    fs::write(folder.path().join("expected.json"), found.to_string())?;
    let expected = Expected::read(folder.path())?;
    Ok((folder, expected))
}

fn window(start: i64) -> Value {
    json!({
        "machine_id": "m00007", "window_start": start, "n": 2,
        "temperature_mean": 60.0, "temperature_std": 1.0 + 1e-13, "temperature_max": 61.0, "temperature_min": 59.0,
        "vibration_mean": 0.5, "vibration_std": 1e-9, "vibration_max": 0.5, "vibration_min": 0.5,
        "pressure_mean": 101.0, "pressure_std": 2.0, "pressure_max": 103.0, "pressure_min": 99.0,
    })
}

fn of_windows(windows: &[Value]) -> Result<Vec<String>> {
    let (_data, expected) = expected()?;
    let out = tempfile::tempdir()?;
    let text: String = windows.iter().map(|window| format!("{window}\n")).collect();
    fs::create_dir(out.path().join("lines"))?;
    fs::write(out.path().join("lines/.part-0.inprogress"), text)?;
    expected.faults(Job::Iot, out.path())
}

fn of_alerts(job: Job, sums: &Value, ids: &[u64]) -> Result<Vec<String>> {
    let (_data, expected) = expected()?;
    let out = tempfile::tempdir()?;
    let text: String = ids.iter().map(|id| format!("{}\n", json!({ "tx_id": id }))).collect();
    fs::write(out.path().join("part-0.jsonl"), text)?;
    fs::write(out.path().join("sums-0.json"), sums.to_string())?;
    expected.faults(job, out.path())
}

#[test]
fn right_windows_have_no_fault_and_each_wrong_one_has() -> Result<()> {
    let (one, two) = (window(10_000), window(20_000));
    assert_eq!(of_windows(&[two.clone(), one.clone()])?, [""; 0]);
    assert_eq!(of_windows(std::slice::from_ref(&one))?, ["windows missing: 1"]);
    let twice = of_windows(&[one.clone(), two.clone(), one.clone()])?;
    assert!(twice.len() == 1 && twice[0].starts_with("a window twice"), "{twice:?}");
    let mut other = two.clone();
    other["window_start"] = json!(30_000);
    assert_eq!(of_windows(&[one.clone(), other])?.len(), 2);
    for name in ["n", "temperature_mean", "vibration_std", "pressure_max", "pressure_min"] {
        let mut wrong = two.clone();
        wrong[name] = json!(2.001);
        let faults = of_windows(&[one.clone(), wrong])?;
        assert!(faults.len() == 1 && faults[0].contains(name), "{faults:?}");
    }
    Ok(())
}

#[test]
fn right_alerts_have_no_fault_and_each_wrong_one_has() -> Result<()> {
    let sums = json!({ "records": 3, "alerts": 2, "sums": vec![10.0; 16] });
    assert_eq!(of_alerts(Job::Fraud, &sums, &[1, 2])?, [""; 0]);
    assert_eq!(of_alerts(Job::Fraud, &sums, &[1, 3])?.len(), 1);
    assert_eq!(of_alerts(Job::Fraud, &sums, &[1, 2, 2])?.len(), 2);
    let mut one = sums.clone();
    one["alerts"] = json!(1);
    // Transaction 2 is at the limit of the rule.
    assert_eq!(of_alerts(Job::Fraud, &one, &[1])?, [""; 0]);
    assert_eq!(of_alerts(Job::FraudScore, &one, &[1])?, [""; 0]);
    assert_eq!(of_alerts(Job::FraudScore, &one, &[2])?, ["the alerts: 2 of 1 differ"]);
    for at in 0..16 {
        let mut wrong = sums.clone();
        wrong["sums"][at] = json!(10.000_001);
        assert_eq!(of_alerts(Job::Fraud, &wrong, &[1, 2])?.len(), 1, "{at}");
    }
    let mut fewer = sums;
    fewer["records"] = json!(2);
    assert_eq!(of_alerts(Job::Fraud, &fewer, &[1, 2])?, ["the number of transactions: 2 for 3"]);
    Ok(())
}
