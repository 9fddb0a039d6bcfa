//! The modules of the page that compute something, each run in the browser from where the job serves it.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::job::Scene;

/// Returns what an expression gives that uses the exports of a module as `m`.
fn with_module(browser: &Browser, module: &str, expression: &str) -> Value {
    browser.run(&format!("return import('/app/{module}').then(m => ({expression}))"))
}

#[test]
fn numbers_times_and_events_are_read_as_people_and_servers_write_them() {
    let Scene { folder: _folder, address, job: _job, browser } = Scene::begin();
    browser.open(&format!("http://{address}/"));
    let format = |expression: &str| with_module(&browser, "format.js", expression);
    for (expression, expected) in [
        ("m.count(30012)", "30,012"),
        ("m.count(NaN)", "–"),
        ("m.rate(0.25)", "0.25"),
        ("m.rate(3)", "3.0"),
        ("m.rate(30012.4)", "30,012"),
        ("m.rate(null)", "–"),
        ("m.short(30012)", "30.0 k"),
        ("m.short(4123456)", "4.1 M"),
        ("m.short(7)", "7"),
        ("m.seconds(0.041)", "41 ms"),
        ("m.seconds(0.0000005)", "1 µs"),
        ("m.seconds(0.4)", "0.4 s"),
        ("m.seconds(59.6)", "60 s"),
        ("m.seconds(3720)", "1 h 2 min"),
        ("m.seconds(120000000)", "3 y 293 d"),
        ("m.seconds(-2)", "−2.0 s"),
        ("m.seconds(Infinity)", "–"),
        ("m.bytes(48123456)", "45.9 MiB"),
        ("m.bytes(0)", "0 B"),
        ("m.percent(0.968)", "97 %"),
        ("m.percent(null)", "n/a"),
        ("m.instant(9223372036854775807)", "end of input"),
        ("m.instant(-9223372036854775808)", "none yet"),
        ("m.instant(0)", "1970-01-01 00:00:00 UTC"),
        ("m.plural(1, 'worker')", "1 worker"),
        ("m.named('model_ns', 1500000).join('=')", "model=1.5 ms"),
    ] {
        assert_eq!(format(expression), json!(expected), "{expression}");
    }
    // Events come in pieces that end anywhere; comments keep the connection alive.
    let events = with_module(
        &browser,
        "api.js",
        r#"(() => {
            const got = []
            const next = m.parser((name, value) => got.push([name, value]))
            for (const piece of ["event: st", "ats\nda", "ta: {\"a\":\ndata: 1}\n", "\n: alive\n\nevent: log\r\ndata: 2\r\n\r\n", "data: 3\n"]) next(piece)
            return got
        })()"#,
    );
    assert_eq!(events, json!([["stats", { "a": 1 }], ["log", 2]]));
    // A long edge leads between the nodes of the columns that it passes, and never through one.
    let path = with_module(
        &browser,
        "route.js",
        "m.route({ nodes: [[0, 0, 0], [1, 1, 0], [2, 1, 1], [3, 2, 0]].map(([id, column, row]) => ({ id, column, row })), \
         edges: [] }, { width: 10, height: 10, along: 10, across: 10 }, false).path({ from: 0, to: 3 })",
    );
    assert_eq!(path, json!("M10 15C15 15 15 15 20 15C25 15 25 15 30 15C35 15 35 15 40 15"));
}
