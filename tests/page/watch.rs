//! A job that is watched while it runs, is killed, comes back, and ends.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser::{Browser, wait_for};
use crate::job::{Job, Scene};
use crate::picture::{DESK, PHONE, axe, keep_picture};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const LEFT: &str = "\u{e012}";

#[test]
fn the_page_shows_a_job_to_everybody() {
    let Scene { folder: _folder, address, job: _job, browser } = Scene::begin();
    browser.show_as(DESK, "light");
    browser.open(&format!("http://{address}/"));
    wait_for_content(&browser);
    assert!(browser.text("#headline").contains("/s · "), "{}", browser.text("#headline"));
    assert!(browser.run("return document.title").as_str().unwrap().contains("fraud_velocity"));
    for operator in ["transactions", "score", "predictions"] {
        assert!(browser.text("#operators-table").contains(operator), "{operator}");
    }
    assert!(browser.text("#settings-list").contains("checkpoint_interval"));
    assert!(browser.text("#inference-box").contains("score"));
    assert_eq!(browser.run("return document.querySelector('#drift').hidden"), json!(true), "the job has none");
    browser.until("the hot keys are shown", "document.querySelector('#keys-box').innerText.includes(' % ')");

    let axe = axe();
    for (screen, size) in [("desk", DESK), ("phone", PHONE)] {
        for theme in ["light", "dark"] {
            browser.show_as(size, theme);
            browser.open(&format!("http://{address}/#op=score&tail=predictions"));
            wait_for_content(&browser);
            browser.until("the operator is shown", "!document.querySelector('#operator').hidden");
            let wider =
                browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(wider, json!(0), "{screen}: the page scrolls sideways");
            assert_eq!(browser.violations(&axe), Vec::<String>::new(), "{screen}, {theme}");
            keep_picture(&browser, &format!("{screen}-{theme}"));
        }
    }
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Waits until numbers have come: records, commits, a history.
fn wait_for_content(browser: &Browser) {
    browser.until("the job runs", "document.querySelector('#state').innerText.includes('running')");
    browser.until("nodes of the graph", "document.querySelectorAll('.node').length > 5");
    browser.until("a commit", "document.querySelector('#headline').innerText.includes('last commit')");
    browser.until("checkpoints with phases", "document.querySelectorAll('#phases-table tbody tr').length > 0");
    browser.until("a history", "!document.querySelector('figcaption .muted').innerText.includes('no ')");
}

#[test]
fn a_keyboard_reaches_everything_and_nothing_is_built_anew() {
    let Scene { folder: _folder, address, job: _job, browser } = Scene::begin();
    browser.show_as(DESK, "light");
    browser.open(&format!("http://{address}/"));
    wait_for_content(&browser);
    let focused = || browser.run("const e = document.activeElement; return e.id || e.textContent").to_string();
    browser.press(TAB);
    assert!(focused().contains("Skip to the graph"), "{}", focused());
    let walk: Vec<String> = (0..60)
        .map(|_| {
            browser.press(TAB);
            focused()
        })
        .collect();
    for stop in ["pause", "theme", "save", "graph-box", "operators-filter"] {
        assert!(walk.iter().any(|one| one.contains(stop)), "{stop} is not among {walk:?}");
    }
    // A node of the graph opens its operator, and the address says so.
    browser.run("document.querySelector('.hit[aria-label^=\"score\"]').focus()");
    browser.press(ENTER);
    browser.until("the operator is shown", "document.querySelector('#operator h3').innerText === 'score'");
    assert!(browser.run("return location.hash").as_str().unwrap().contains("op=score"));
    // Arrows walk along the checkpoints.
    browser.run("document.querySelector('#strip [tabindex=\"0\"]').focus()");
    browser.press(LEFT);
    browser.until("a checkpoint is picked", "location.hash.includes('cp=')");
    // Rows stay the elements that they are while their numbers change: focus and selection survive.
    browser.run("const row = document.querySelector('#operators-table tbody tr'); row.marked = true; window.before = row.innerText; row.querySelector('button').focus()");
    browser.until("numbers change", "document.querySelector('#operators-table tbody tr').innerText !== window.before");
    assert_eq!(browser.run("return document.activeElement.closest('tr')?.marked === true"), json!(true));
    // Paused, they stand still.
    browser.click("#pause");
    assert!(browser.text("#gone").starts_with("Paused"));
    browser.click("#pause");
    browser.until("it goes on", "document.querySelector('#gone').hidden");
    // The theme that was chosen outlasts the visit.
    browser.click("#theme");
    browser.open(&format!("http://{address}/"));
    assert_eq!(browser.run("return document.documentElement.dataset.theme"), json!("light"));
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn records_pass_by_and_what_changes_the_job_needs_its_token() {
    let Scene { folder, address, job: _job, browser } = Scene::begin();
    browser.show_as(DESK, "light");
    browser.open(&format!("http://{address}/#tail=predictions"));
    wait_for_content(&browser);
    browser.until("records in the tail", "document.querySelectorAll('#tail-box p').length > 2");
    let filter = "const input = document.querySelector('#tail-filter'); input.value = 'no record has this'";
    browser.run(&format!("{filter}; input.dispatchEvent(new Event('input'))"));
    browser.until("a filter", "document.querySelector('#tail-words').innerText.includes('no record has this')");
    browser.open(&format!("http://{address}/#tail=no-such-stream"));
    wait_for_content(&browser);
    browser.until("a word", "document.querySelector('#tail-words').innerText.includes('no stream')");
    assert_eq!(browser.errors(), Vec::<String>::new());

    let said = |what: &str| format!("document.querySelector('#action-said').innerText.includes('{what}')");
    browser.until("actions", "document.querySelector('[data-action=checkpoint]')");
    browser.click("[data-action=checkpoint]");
    browser.until("a refusal", &said("refused"));
    let token = fs::read_to_string(folder.path().join("checkpoints/http-token")).unwrap();
    browser.run(&format!("document.querySelector('#token').value = {:?}", token.trim()));
    browser.click("#actions form button");
    browser.click("[data-action=checkpoint]");
    browser.until("a checkpoint is taken", &said("accepted"));
    // A savepoint is asked for twice, and is there in the end.
    browser.run("window.confirm = question => { window.question = question; return false }");
    let savepoint = "[data-action=savepoints]";
    browser.run("document.querySelector('[aria-label=\"Name of the savepoint\"]').value = 'by-click'");
    let folder_of_savepoints = folder.path().join("checkpoints/savepoints");
    browser.click(savepoint);
    assert_eq!(browser.run("return window.question"), json!("Take a savepoint of the running job?"));
    browser.run("const token = sessionStorage.getItem('tidemill-token'); sessionStorage.clear(); window.kept = token; window.confirm = () => true");
    browser.click(savepoint);
    browser.until("a refusal", &said("savepoint: refused"));
    assert_eq!(browser.run("return document.activeElement.id"), json!("token"));
    assert!(!folder_of_savepoints.exists());
    browser.run("sessionStorage.setItem('tidemill-token', window.kept)");
    browser.click(savepoint);
    browser.until("a savepoint is taken", &said("Savepoint by-click of epoch"));
    assert!(folder_of_savepoints.join("by-click/manifests").is_dir());
    keep_picture(&browser, "savepoint");
    // A token in the address is used, and is not left there.
    browser.run("sessionStorage.clear()");
    browser.open(&format!("http://{address}/#token={}&op=score", token.trim()));
    wait_for_content(&browser);
    assert_eq!(browser.run("return location.hash"), json!("#op=score"));
    browser.until("actions", "document.querySelector('[data-action=checkpoint]')");
    browser.click("[data-action=checkpoint]");
    browser.until("a checkpoint is taken", &said("accepted"));
}

#[test]
fn a_version_is_tried_and_rolled_back_by_buttons() {
    let Scene { folder, address, job: _job, browser } = Scene::begin();
    browser.show_as(DESK, "light");
    browser.open(&format!("http://{address}/"));
    wait_for_content(&browser);
    let says = |what: &str| format!("document.querySelector('#versions-box').innerText.includes('{what}')");
    browser.until("the versions are shown", &says("fraud_velocity, version 1"));
    assert!(browser.text("#versions-box").contains("canary\nnone"), "{}", browser.text("#versions-box"));
    let token = fs::read_to_string(folder.path().join("checkpoints/http-token")).unwrap();
    browser.run("window.confirm = () => true");
    let ask = |model: &str, what: &str| {
        let form =
            "const form = document.querySelector('#versions-box form'); const select = form.querySelector('select')";
        browser.run(&format!(
            "{form}; form.querySelector('input').value = '{model}'; select.value = '{what}'; \
             select.dispatchEvent(new Event('change')); form.requestSubmit()"
        ));
    };
    ask("fraud_velocity/2", "canary");
    browser.until("a refusal", &says("refused: "));
    browser.run(&format!("document.querySelector('#token').value = {:?}", token.trim()));
    browser.click("#actions form button");
    ask("fraud_velocity/2", "canary");
    browser.until("the canary", &says("fraud_velocity, version 2"));
    browser.until("what was seen of it", &says("seen of the canary"));
    browser.until("it is in the list", &says("canary fraud_velocity/2 5 %"));
    ask("fraud_velocity/9", "switch");
    browser.until("why it is refused", &says("version 9 is not there"));
    assert_eq!(browser.violations(&axe()), Vec::<String>::new());
    keep_picture(&browser, "versions");
    browser.click("[data-change=roll_back]");
    browser.until("the canary has ended", &says("end canary"));
    browser.until("there is none", "document.querySelector('#versions-box dl').innerText.includes('canary\\nnone')");
    assert_eq!(browser.errors().into_iter().filter(|e| !e.contains("401")).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_job_that_is_gone_looks_gone_until_it_is_back() {
    let Scene { folder, address, job, browser } = Scene::begin();
    browser.show_as(DESK, "light");
    browser.save_files_in(folder.path());
    browser.open(&format!("http://{address}/#op=score"));
    wait_for_content(&browser);

    job.kill();
    browser.until("it looks gone", "document.documentElement.dataset.connection === 'gone'");
    assert!(browser.text("#gone").contains("Last answer at"), "{}", browser.text("#gone"));
    assert!(browser.text("#gone").contains("Everything below is old"));
    assert!(browser.run("return document.title").as_str().unwrap().contains("gone"));
    assert!(browser.run("return document.querySelector('#graph-title').dataset.old").as_str().unwrap().contains("old"));
    let axe = axe();
    for theme in ["light", "dark"] {
        browser.show_as(DESK, theme);
        assert_eq!(browser.violations(&axe), Vec::<String>::new(), "gone, {theme}");
        keep_picture(&browser, &format!("gone-{theme}"));
    }
    // Each try to reach it is an error in the console, of the browser's own.
    drop(browser.errors());

    let job = Job::start(address, folder.path());
    browser.until("it is back", "document.documentElement.dataset.connection === 'live'");
    browser.until("it says so", "document.querySelector('#restarts').innerText.includes('restarted')");
    assert!(browser.text("#restarts").contains("from checkpoint #"), "{}", browser.text("#restarts"));
    wait_for_content(&browser);
    assert_eq!(browser.run("return document.querySelector('#gone').hidden"), json!(true));

    browser.click("#save");
    let file = saved(folder.path());
    job.stop();
    browser.until("it looks ended", "document.documentElement.dataset.connection !== 'live'");
    drop(browser.errors());
    // The file needs nobody who answers.
    browser.open(&format!("file://{}", file.display()));
    assert!(browser.text("h1").contains("fraud_velocity"));
    assert!(browser.text(".saved").contains("Saved"));
    assert_eq!(browser.run("return [document.scripts.length, document.images.length > 3]"), json!([0, true]));
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Waits for the file that the page has saved.
fn saved(folder: &Path) -> PathBuf {
    let look = || {
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "html"))
    };
    wait_for(look).expect("the page saves a file")
}
