//! Drift as a person sees it: which features of which version, by what, and the histograms of both over each other.

use serde_json::json;
use tests::drifting::Drifting;

use crate::browser::{Browser, wait_for};
use crate::picture::{DESK, PHONE, axe, keep_picture};

#[test]
fn drift_is_shown_by_version_and_feature_with_both_histograms() {
    let job = Drifting::start();
    wait_for(|| job.listens().then_some(())).expect("the job listens");
    let browser = Browser::start();
    browser.show_as(DESK, "light");
    browser.open(&format!("http://{}/", job.address));
    browser.until("all versions", "document.querySelectorAll('#drift-box > details').length === 3");
    let says = |version: &str, what: &str| {
        let panel = format!(
            "[...document.querySelectorAll('#drift-box > details')].find(one => one.innerText.includes('payments/{version}'))"
        );
        browser.run(&format!("return {panel}.innerText.includes({what:?})")) == json!(true)
    };
    assert!(says("1", "● 5 steady") && says("2", "▲ 3 drifted") && says("3", "◌ 5 inconclusive"));
    assert!(says("2", "Wasserstein") && says("2", "drift from 0.1") && says("3", "it has none"));
    assert!(browser.text("#sections").contains("drift"), "there is a link to it");
    // The words say what the colours do, and the pictures have a text.
    let shown = browser.run("return document.querySelectorAll('#drift .feature').length");
    assert_eq!(shown, json!(10), "nothing is known of the version without a baseline, and that is said once");
    let pictures = browser.run(
        "return [...document.querySelectorAll('#drift svg')].map(one => [one.getAttribute('aria-label'), one.querySelectorAll('.now').length > 0, one.querySelectorAll('.training').length > 0])",
    );
    let pictures = pictures.as_array().unwrap();
    assert_eq!(pictures.len(), 10, "{pictures:?}");
    for picture in pictures {
        let words = picture[0].as_str().unwrap();
        assert!(words.starts_with("Histogram of ") && words.contains("Training data: most, "), "{words}");
        assert_eq!((&picture[1], &picture[2]), (&json!(true), &json!(true)), "both are drawn: {words}");
    }
    let missing = "document.querySelector('#drift .missing[data-drifted]')?.innerText";
    assert!(browser.run(&format!("return {missing}")).as_str().unwrap().starts_with("missing 3"), "of age");
    // The values of a picture are a table, once somebody opens it.
    browser.run("document.querySelector('#drift .values').open = true");
    browser.until("a table", "document.querySelectorAll('#drift .values tbody tr').length > 2");
    // Another window is drawn in its place: what is open and where the focus is stay.
    browser.run("const one = document.querySelector('#drift-box > details'); one.marked = true; window.before = document.querySelector('#drift svg rect').parentNode; one.querySelector('summary').focus()");
    browser.until("another window", "document.querySelector('#drift svg rect').parentNode !== window.before");
    assert_eq!(browser.run("return document.activeElement.parentNode.marked === true"), json!(true));
    let open = "return document.querySelectorAll('#drift .values[open] tbody tr').length > 2";
    assert_eq!(browser.run(open), json!(true));

    let axe = axe();
    for (screen, size) in [("desk", DESK), ("phone", PHONE)] {
        for theme in ["light", "dark"] {
            browser.show_as(size, theme);
            assert_eq!(browser.violations(&axe), Vec::<String>::new(), "{screen}, {theme}");
            let wider =
                browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(wider, json!(0), "{screen}: the page scrolls sideways");
            browser.run("document.querySelector('#drift').scrollIntoView()");
            keep_picture(&browser, &format!("drift-{screen}-{theme}"));
        }
    }
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn numbers_and_bins_are_named_as_people_read_them() {
    let job = Drifting::start();
    wait_for(|| job.listens().then_some(())).expect("the job listens");
    let browser = Browser::start();
    browser.open(&format!("http://{}/", job.address));
    let of = |expression: &str| browser.run(&format!("return import('/app/drift.js').then(m => ({expression}))"));
    for (expression, expected) in [
        ("m.number(0.03381)", "0.0338"),
        ("m.number(5423.4)", "5,420"),
        ("m.number(0.0000213)", "2.1e-5"),
        ("m.number(-2500000)", "-2.5 M"),
        ("m.number(0)", "0"),
        ("m.number(null)", "–"),
        ("m.share(0)", "0 %"),
        ("m.share(0.0001)", "< 0.1 %"),
        ("m.share(0.012)", "1.2 %"),
        ("m.share(0.968)", "97 %"),
    ] {
        assert_eq!(of(expression), json!(expected), "{expression}");
    }
    let names = |histogram: &str| of(&format!("m.binsOf({histogram}).map(one => one.name)"));
    assert_eq!(
        names("{ edges: [0, 1, 2], reference: [0, 0.5, 0.5, 0], window: [0, 0.2, 0, 0.8] }"),
        json!(["0 to 1", "1 to 2", "above 2"]),
        "nothing is below"
    );
    assert_eq!(
        names("{ labels: ['<b>DE</b>', 0.5, null], reference: [0.5, 0.5, 0], window: [0.4, 0.4, 0.2] }"),
        json!(["<b>DE</b>", "0.5", "others"])
    );
    // Whatever an answer has, the page goes on.
    let strange = "const { store, changed } = await import('/app/store.js'); \
        const feature = { name: 'x', verdict: 'new', value: null, histogram: { edges: [], reference: [0, 0], window: [] } }; \
        store.drift = { drift: { none: null, 'a/1': { features: [] }, 'b/1@h': { features: [feature], start_ms: 0, end_ms: 0, records: 0 } } }; \
        changed('drift'); \
        return document.querySelector('#drift').innerText";
    let said = browser.run(strange);
    assert!(said.as_str().unwrap().contains("b/1"), "{said}");
    assert_eq!(browser.errors(), Vec::<String>::new());
}
