//! Damaged or missing files, full disks and refused starts: the job stops with an error that names the cause and says
//! what to do. Nothing is overwritten.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{example, fail, fail_with, finish, free_address, is_error, lines, project};

/// Returns the command of a job that scores `count` simulated transactions at a constant rate.
fn job(folder: &Path, count: u64) -> Command {
    let mut command = example("fraud_velocity");
    command.args(["--rate", "20000", "--checkpoint-interval", "50ms", "--count", &count.to_string()]);
    command
        .arg("--checkpoint-dir")
        .arg(folder.join("checkpoints"))
        .arg("--predictions")
        .arg(folder.join("predictions"));
    command
}

const FOR_EVER: u64 = 1_000_000_000;

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("checkpoints/manifests")).into_iter().flatten().flatten();
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut manifests: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_manifest).collect();
    manifests.sort();
    manifests
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not happen in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the job until it has made some checkpoints, and stops it with SIGTERM, as a human operator would.
fn run_a_while(folder: &Path, workers: usize) {
    let before = manifests(folder).pop();
    let mut command = job(folder, FOR_EVER);
    let mut child = command.args(["--workers", &workers.to_string()]).spawn().expect("the program starts");
    let newer =
        || manifests(folder).into_iter().filter(|path| before.as_ref().is_none_or(|before| path > before)).count();
    wait_until("a third checkpoint", || newer() >= 3 || child.try_wait().expect("a child").is_some());
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill").success());
    let output = child.wait_with_output().expect("a child ends");
    assert!(
        output.status.success(),
        "SIGTERM ended it with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns a folder with checkpoints that have a base and deltas, and the newest manifest.
fn with_checkpoints() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    // The first epoch of another number of workers takes a base.
    run_a_while(folder.path(), 2);
    run_a_while(folder.path(), 1);
    let newest = manifests(folder.path()).pop().expect("a manifest");
    let manifest = serde_json::from_slice(&fs::read(newest).expect("a manifest")).expect("JSON");
    (folder, manifest)
}

/// Returns all files of the checkpoints with their contents, without the local files of running processes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.join("checkpoints")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == "local") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

fn must_name(errors: &str, file: &Path) {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    assert!(errors.contains(&name), "the error does not name {name}: {errors}");
    println!("{errors}");
}

/// Damages a file with `harm`. Checks that the next start names the file, changes nothing, and recommends exactly those
/// checkpoints that do not need it.
fn broken(pick: impl Fn(&Path, &Value) -> PathBuf, harm: impl Fn(&Path)) {
    let (folder, manifest) = with_checkpoints();
    let file = pick(folder.path(), &manifest);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let needs_it =
        |manifest: &PathBuf| *manifest == file || fs::read_to_string(manifest).is_ok_and(|m| m.contains(&name));
    let whole: Vec<String> = manifests(folder.path())
        .iter()
        .rev()
        .filter(|manifest| !needs_it(manifest))
        .map(|manifest| epoch_of(manifest).to_string())
        .collect();
    harm(&file);
    let before = contents(folder.path());
    let errors = fail_with(4, &mut job(folder.path(), FOR_EVER));
    must_name(&errors, &file);
    let advice = if whole.is_empty() {
        "no checkpoint here is complete".to_owned()
    } else {
        format!("complete, and can be restored instead: {}\nhint: --restore {}\n", whole.join(", "), whole[0])
    };
    assert!(errors.contains(&advice), "wanted \"{advice}\": {errors}");
    assert!(contents(folder.path()) == before, "the checkpoints were changed");
}

fn epoch_of(manifest: &Path) -> u64 {
    manifest.file_stem().and_then(|epoch| epoch.to_str()?.parse().ok()).expect("an epoch")
}

/// Returns the newest manifest of a running job; `None` if the job has just removed it.
fn read_newest(folder: &Path) -> Option<Value> {
    let json = fs::read(manifests(folder).pop()?).ok()?;
    let mut newest: Value = serde_json::from_slice(&json).expect("JSON");
    // The claim of a start contains the manifest from which the job continues.
    Some(if newest["of"].is_object() { newest["of"].take() } else { newest })
}

/// Returns the files that a manifest names.
fn named(manifest: &Value) -> Vec<String> {
    let worker = &manifest["workers"][0];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let deltas = worker["deltas"].as_array().expect("deltas").iter().map(|delta| text(&delta["file"]));
    let base = &worker["base"];
    let of_base = base["files"].as_array().into_iter().flatten();
    deltas.chain(of_base.map(|file| format!("{}/{}", text(&base["dir"]), text(&file["name"])))).collect()
}

fn newest_delta(folder: &Path, manifest: &Value) -> PathBuf {
    let deltas = manifest["workers"][0]["deltas"].as_array().expect("deltas");
    let file = deltas.last().and_then(|delta| delta["file"].as_str()).expect("a delta");
    folder.join("checkpoints").join(file)
}

#[test]
fn a_corrupt_delta_is_named() {
    broken(newest_delta, |file| {
        let mut bytes = fs::read(file).expect("a delta");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).expect("room");
    });
}

#[test]
fn a_missing_delta_is_named() {
    broken(newest_delta, |file| fs::remove_file(file).expect("a delta"));
}

/// Files are removed from the checkpoints of a running job, as by a clean-up script. The job replaces them and loses no
/// record.
#[test]
fn files_removed_under_a_running_job_are_noticed_and_replaced() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    run_a_while(folder.path(), 1);
    let checkpoints = folder.path().join("checkpoints");
    let newest = || read_newest(folder.path());
    let epoch_in = |manifest: &Value| manifest["epoch"].as_u64().expect("an epoch");
    let before = newest().as_ref().map(epoch_in);
    let mut child = job(folder.path(), FOR_EVER).spawn().expect("the program starts");
    let mut wait = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        let mut found = None;
        wait_until(what, || {
            found = newest().filter(holds);
            found.is_some() || child.try_wait().expect("a child").is_some()
        });
        found.unwrap_or_else(|| {
            let mut errors = String::new();
            child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut errors)).transpose().expect("text");
            panic!("the job ended while waiting for {what}: {errors}")
        })
    };
    let is_new = |manifest: &Value| Some(epoch_in(manifest)) > before && !manifest["workers"][0]["base"].is_null();
    let mut manifest = wait("a checkpoint with a base", &is_new);
    for what in ["a delta", "an SST", "deltas", "bases", "manifests"] {
        let (epoch, files) = (epoch_in(&manifest), named(&manifest));
        let end = if what == "an SST" { ".sst" } else { ".delta" };
        let gone = match what {
            "a delta" | "an SST" => files.iter().find(|file| file.ends_with(end)).expect(what),
            folder => folder,
        };
        let path = checkpoints.join(gone);
        let remove = || if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        // The job may put a file into a folder while it is being emptied.
        while remove().is_err_and(|e| e.kind() == std::io::ErrorKind::DirectoryNotEmpty) {}
        // Up to two epochs may have been written before the files were removed.
        let there = |file: &String| checkpoints.join(file).exists();
        let whole = |manifest: &Value| epoch_in(manifest) > epoch + 2 && named(manifest).iter().all(there);
        manifest = wait(&format!("a whole checkpoint after {what} was removed"), &whole);
    }
    child.kill().expect("a child can be killed");
    let output = child.wait_with_output().expect("a child ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    for text in ["checkpoint files were removed or truncated while the job runs", "manifests were removed or damaged"] {
        assert!(errors.contains(text), "wanted \"{text}\": {errors}");
    }
    let done = lines(&folder.path().join("predictions")).len() as u64;
    finish(&mut job(folder.path(), done + 30_000));
    let found = lines(&folder.path().join("predictions"));
    let id = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["tx_id"].as_u64().expect("a tx_id");
    let mut ids: Vec<u64> = found.iter().map(id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..done + 30_000).collect::<Vec<_>>());
}

#[test]
fn a_job_whose_checkpoint_directory_goes_away_stops_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (checkpoints, away) = (folder.path().join("checkpoints"), folder.path().join("away"));
    let mut child = job(folder.path(), FOR_EVER).spawn().expect("the program starts");
    wait_until("a third checkpoint", || {
        manifests(folder.path()).len() >= 3 || child.try_wait().expect("a child").is_some()
    });
    fs::rename(&checkpoints, &away).expect("a folder");
    // An empty folder is left behind, as when a volume is unmounted.
    fs::create_dir(&checkpoints).expect("room");
    let output = child.wait_with_output().expect("a child ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(is_error(output.status), "{errors}");
    assert!(errors.contains("was removed, replaced or unmounted while the job ran"), "{errors}");
    assert_eq!(fs::read_dir(&checkpoints).expect("a folder").count(), 0, "something was written to another place");
    fs::remove_dir(&checkpoints).expect("a folder");
    fs::rename(&away, &checkpoints).expect("a folder");
    let done = lines(&folder.path().join("predictions")).len() as u64;
    finish(&mut job(folder.path(), done + 10_000));
    let found = lines(&folder.path().join("predictions"));
    let id = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["tx_id"].as_u64().expect("a tx_id");
    let ids: std::collections::BTreeSet<u64> = found.iter().map(id).collect();
    assert_eq!((found.len() as u64, ids.len() as u64), (done + 10_000, done + 10_000));
}

#[test]
fn manifests_that_are_all_gone_are_no_fresh_start() {
    let (folder, _) = with_checkpoints();
    fs::remove_dir_all(folder.path().join("checkpoints/manifests")).expect("manifests");
    let errors = fail(&mut job(folder.path(), FOR_EVER));
    assert!(errors.contains("there is no manifest") && errors.contains("hint: --restore none\n"), "{errors}");
}

#[test]
fn a_truncated_manifest_is_named() {
    broken(
        |folder, _| manifests(folder).pop().expect("a manifest"),
        |file| {
            let bytes = fs::read(file).expect("a manifest");
            fs::write(file, &bytes[..bytes.len() / 2]).expect("room");
        },
    );
}

#[test]
fn a_missing_sst_is_named() {
    broken(
        |folder, manifest| {
            let base = &manifest["workers"][0]["base"];
            let names = base["files"].as_array().expect("a base").iter().filter_map(|file| file["name"].as_str());
            let sst = names.into_iter().find(|name| name.ends_with(".sst")).expect("an SST");
            folder.join("checkpoints").join(base["dir"].as_str().expect("a folder")).join(sst)
        },
        |file| fs::remove_file(file).expect("an SST"),
    );
}

#[test]
fn a_checkpoint_of_another_program_is_refused() {
    let (folder, _) = with_checkpoints();
    let before = contents(folder.path());
    let errors = fail(example("iot_window").arg("--checkpoint-dir").arg(folder.path().join("checkpoints")));
    assert!(errors.contains("fraud_velocity") && errors.contains("iot_window"), "{errors}");
    assert!(contents(folder.path()) == before, "the checkpoints were changed");
}

#[test]
fn a_start_from_an_older_checkpoint_that_is_refused_gives_up_no_later_one() {
    let (folder, _) = with_checkpoints();
    let before = manifests(folder.path());
    let older = before[0].file_stem().and_then(|epoch| epoch.to_str()?.parse::<u64>().ok()).expect("an epoch");
    let from_older = |more: &[&str]| {
        let mut command = job(folder.path(), FOR_EVER);
        command.args(["--restore", &older.to_string()]).args(more);
        command
    };
    let refused = |more: &[&str], wanted: &str| {
        let contents_before = contents(folder.path());
        let errors = fail(&mut from_older(more));
        assert!(errors.contains(wanted), "wanted \"{wanted}\": {errors}");
        assert!(contents(folder.path()) == contents_before, "{more:?} changed the checkpoints");
    };
    refused(&["--drop-state", "no-such"], "nothing of that name");
    refused(&[], "published output is not removed");
    fs::rename(folder.path().join("predictions"), folder.path().join("before")).expect("a folder");
    refused(&["--renamed", "terminal-risk=station-risk"], "data that no operator of this program declares");
    assert!(before.len() > 1);
    let mut child = from_older(&[]).spawn().expect("the program starts");
    wait_until("giving up the later ones", || {
        !manifests(folder.path()).contains(&before[before.len() - 1]) || child.try_wait().expect("a child").is_some()
    });
    child.kill().expect("a child can be killed");
    let output = child.wait_with_output().expect("a child ends");
    assert!(output.status.code().is_none(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_both_sides() {
    let model = project().join("models/iot_window.onnx");
    let errors = fail_with(2, example("fraud_velocity").arg("--model").arg(model));
    assert!(errors.contains("temperature_mean") && errors.contains("terminal_risk_7d"), "{errors}");
    let errors = fail_with(2, example("fraud_velocity").args(["--model", "no/such.onnx"]));
    assert!(errors.contains("no/such.onnx"), "{errors}");
}

#[test]
fn a_model_server_that_is_away_asks_for_another_try() {
    let nobody = free_address();
    let url = format!("oip+http://{nobody}/rank");
    let errors = fail_with(3, example("content_recommendation").args(["--server", &url, "--start-timeout", "300ms"]));
    assert!(errors.contains("is not available") && errors.contains("Is it up?"), "{errors}");
}

#[test]
fn a_fresh_start_does_not_write_among_the_parts_of_another_run() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    finish(&mut job(folder.path(), 5000));
    let before = lines(&folder.path().join("predictions"));
    fs::remove_dir_all(folder.path().join("checkpoints")).expect("checkpoints");
    let errors = fail(&mut job(folder.path(), 5000));
    assert!(errors.contains("another run"), "{errors}");
    assert_eq!(lines(&folder.path().join("predictions")), before);
}

#[test]
fn a_stop_and_a_restart_leave_every_prediction_once() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    run_a_while(folder.path(), 1);
    let done = lines(&folder.path().join("predictions")).len() as u64;
    assert!(done > 0, "nothing was published before the stop ended");
    finish(&mut job(folder.path(), done + 30_000));
    let found = lines(&folder.path().join("predictions"));
    let id = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["tx_id"].as_u64().expect("a tx_id");
    let mut ids: Vec<u64> = found.iter().map(id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..done + 30_000).collect::<Vec<_>>());
    // The job has reached the end of its input, so another start adds nothing.
    finish(&mut job(folder.path(), done + 30_000));
    assert_eq!(lines(&folder.path().join("predictions")), found);
}

/// A file system of a few MiB, which is unmounted when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount a small file system");
        println!("NOT RUN: a full disk: this user cannot mount a small file system");
        None
    }

    fn grow(&self, size: &str) {
        let remounted = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0.path()).status();
        assert!(remounted.is_ok_and(|status| status.success()), "remount");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_stops_the_job_and_costs_nothing() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let folder = disk.0.path();
    let count = 100_000;
    let errors = fail(&mut job(folder, count));
    assert!(errors.contains("No space left on device"), "{errors}");
    println!("{errors}");
    disk.grow("1g");
    finish(&mut job(folder, count));
    let found = lines(&folder.join("predictions"));
    let ids: std::collections::BTreeSet<u64> = found
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["tx_id"].as_u64().expect("a tx_id"))
        .collect();
    assert_eq!((found.len() as u64, ids.len() as u64), (count, count));
}
