//! Each of these alerts fires in a real Prometheus when its cause is there, and not before; and not for a job to which
//! nothing happens.

use std::collections::BTreeMap;

use tests::pause;

use crate::causes::{self, REFERENCE, Switch, append};
use crate::prometheus::Ruled;
use crate::running::Running;

/// Waits until an alert fires for a job. It fires with these labels, and not for the job that is well.
#[track_caller]
fn fires(prometheus: &Ruled, alert: &str, job: &str, labels: &[(&str, &str)]) {
    let is = |found: &BTreeMap<String, String>, name: &str, value: &str| found.get(name).is_some_and(|is| is == value);
    loop {
        let firing = prometheus.firing();
        let of = |job: &str| firing.iter().find(|found| is(found, "alertname", alert) && is(found, "job_name", job));
        if let Some(found) = of(job) {
            println!("{alert} fires for {job}: {found:?}");
            for (name, value) in labels {
                assert!(is(found, name, value), "{found:?}");
            }
            assert_eq!(of("well"), None);
            return;
        }
        pause();
    }
}

fn asleep(prometheus: &Ruled, alert: &str, job: &str) {
    let firing = prometheus.firing();
    let fires =
        firing.iter().any(|found| found["alertname"] == alert && found.get("job_name").is_some_and(|is| is == job));
    assert!(!fires, "{firing:?}");
}

/// Waits until Prometheus has seen so many scrapes of each job.
fn scraped(prometheus: &Ruled, jobs: usize) {
    let enough = "count(count_over_time(tidemill_job_info[1m]) > 6)";
    while prometheus.value(enough) < Some(jobs as f64) {
        pause();
    }
}

#[test]
fn alerts_fire_by_real_causes() {
    let (stuck_switch, broken) = (Switch::default(), Switch::default());
    let (well, stalled, letters, slow) = (causes::well(), causes::stalled(), causes::letters(), causes::slow());
    let (models, stuck) = (causes::models(&broken), causes::stuck(&stuck_switch));
    let (served, reference) = (causes::served(&broken), causes::reference());
    let [lost, fails, gone] = ["lost", "fails", "gone"].map(causes::keeps_state);
    append(&letters, "1");
    let all = [&well, &stalled, &letters, &slow, &models, &stuck, &served, &reference, &lost, &fails, &gone];
    all.iter().for_each(|job| drop(job.until(|text| text.contains("tidemill_committed_epoch "))));
    let prometheus = Ruled::start(&all);
    scraped(&prometheus, all.len());
    for (alert, job) in [
        ("TidemillJobDown", "gone"),
        ("TidemillJobDown", "fails"),
        ("TidemillCheckpointFilesLost", "lost"),
        ("TidemillDeadLetters", "letters"),
        ("TidemillModelErrors", "models"),
        ("TidemillModelServerCircuitOpen", "served"),
        ("TidemillReferenceRefused", "reference"),
        ("TidemillCheckpointsStopped", "stuck"),
    ] {
        asleep(&prometheus, alert, job);
    }

    // Each cause.
    append(&stalled, &causes::now().to_string());
    append(&letters, "no number");
    broken.set(true);
    stuck_switch.set(true);
    // The job removes old ones meanwhile.
    std::fs::read_dir(lost.file("checkpoints/deltas"))
        .unwrap()
        .for_each(|file| drop(std::fs::remove_file(file.unwrap().path())));
    std::fs::rename(fails.file("checkpoints"), fails.file("elsewhere")).unwrap();
    std::fs::write(reference.file("next"), "id,city\nseven,Graz\n").unwrap();
    std::fs::rename(reference.file("next"), reference.file(REFERENCE.0)).unwrap();
    gone.end().unwrap();

    fires(&prometheus, "TidemillJobDown", "gone", &[("severity", "page")]);
    let error = fails.ended().expect_err("its store is gone");
    println!("fails: {error}");
    fires(&prometheus, "TidemillJobDown", "fails", &[("severity", "page")]);
    fires(&prometheus, "TidemillDeadLetters", "letters", &[("operator", "numbers"), ("severity", "ticket")]);
    fires(&prometheus, "TidemillCheckpointFilesLost", "lost", &[("severity", "page")]);
    fires(&prometheus, "TidemillModelErrors", "models", &[("operator", "score")]);
    fires(&prometheus, "TidemillModelServerCircuitOpen", "served", &[("operator", "score"), ("severity", "page")]);
    fires(&prometheus, "TidemillReferenceRefused", "reference", &[("operator", "terminals")]);
    fires(&prometheus, "TidemillCheckpointsStopped", "stuck", &[("severity", "page")]);
    fires(&prometheus, "TidemillWatermarkStalled", "stalled", &[]);
    fires(&prometheus, "TidemillBackpressured", "slow", &[("operator", "ticks"), ("severity", "ticket")]);
    assert_eq!(prometheus.rule_errors(), Vec::<String>::new());

    // What is over is no alert any more.
    stuck_switch.set(false);
    broken.set(false);
    for (alert, job) in [
        ("TidemillCheckpointsStopped", "stuck"),
        ("TidemillModelErrors", "models"),
        ("TidemillModelServerCircuitOpen", "served"),
    ] {
        let still = || prometheus.firing().iter().any(|found| found["alertname"] == alert && found["job_name"] == job);
        while still() {
            pause();
        }
    }
    let running: Vec<Running> = vec![well, stalled, letters, slow, models, stuck, served, reference, lost];
    running.into_iter().for_each(|job| drop(job.end().unwrap()));
}
