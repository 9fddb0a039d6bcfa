//! The reference pages in `docs/operate` are compared with what a program knows of itself: its flags, the defaults of
//! its settings. What the sources alone say is compared in `xtask/src/pages.rs`, the metrics of a running job in
//! `tests/metrics/page.rs`.

use std::collections::BTreeMap;

use clap::{CommandFactory, Parser};
use serde::Serialize;
use serde_json::{Value as Json, json};
use testkit::page::{ReferencePage, code_of};
use testkit::project;
use tidemill::drift::{AdwinSettings, DdmSettings, DriftSettings, KswinSettings, PageHinkleySettings};
use tidemill::file::RollSettings;
use tidemill::infer::SessionSettings;
use tidemill::infer::server::{CircuitSettings, ServerSettings};
use tidemill::prelude::*;
use tidemill::testing::SimulationSettings;

fn page(name: &str) -> ReferencePage {
    ReferencePage::read(&project().join("docs/operate").join(name))
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    job: JobArgs,
}

/// The first sentence of a text.
fn sentence(text: &str) -> &str {
    text.split(". ").next().unwrap_or_default().trim_end_matches('.')
}

#[test]
fn the_page_of_flags_has_each_flag_with_its_value_its_default_and_its_help() {
    let job = Program::parse_from(["program"]).job;
    let settings = serde_json::to_value(&job.settings).unwrap();
    let command = Program::command();
    let mut flags = BTreeMap::new();
    for arg in command.get_arguments() {
        let name = arg.get_long().unwrap_or_default();
        let value = arg.get_value_names().unwrap_or_default().join(" ");
        let default = arg.get_default_values().first().map_or("–".into(), |value| value.to_string_lossy());
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let field = name.replace('-', "_");
        let is_of_the_log = ["log-level", "log-format"].contains(&name);
        assert!(settings.get(&field).is_some() || is_of_the_log, "{field} is no setting");
        flags.insert(format!("--{name}"), (value, default.into_owned(), help));
    }
    for row in page("flags.md").rows(Some("Flags of a job")) {
        let [flag, value, default, text] = &row[..] else { panic!("{row:?}") };
        let flag = code_of(flag);
        let (expected, expected_default, help) = flags.remove(flag).unwrap_or_else(|| panic!("there is no {flag}"));
        assert_eq!((code_of(value), code_of(default)), (expected.as_str(), expected_default.as_str()), "{flag}");
        assert!(text.starts_with(sentence(&help)), "{flag}: \"{text}\" does not begin as its help does: \"{help}\"");
    }
    assert!(flags.is_empty(), "flags.md lacks {:?}", flags.keys());
}

/// Compares the defaults of a type with those of its table. A nested type is a link to its own table.
fn defaults_are<S: Default + Serialize>(page: &ReferencePage, name: &str) {
    let Json::Object(mut defaults) = serde_json::to_value(S::default()).unwrap() else { panic!("{name} is no struct") };
    for row in page.rows(Some(name)) {
        let (field, documented) = (code_of(&row[0]), &row[2]);
        let default = defaults.remove(field).unwrap_or_else(|| panic!("{name} has no field {field}"));
        if documented.starts_with('[') {
            assert_eq!(
                *documented,
                format!("[{0}](#{1})", code_of(&row[1]), code_of(&row[1]).to_lowercase()),
                "{name}.{field}"
            );
        } else {
            let documented: Json = serde_json::from_str(code_of(documented))
                .unwrap_or_else(|e| panic!("{name}.{field}: {e}: {documented}"));
            assert_eq!(documented, default, "{name}.{field}");
        }
    }
    assert!(defaults.is_empty(), "settings.md, {name}, lacks {defaults:?}");
}

#[test]
fn the_page_of_settings_has_the_default_of_each_field() {
    let page = page("settings.md");
    defaults_are::<JobSettings>(&page, "JobSettings");
    defaults_are::<InferSettings>(&page, "InferSettings");
    defaults_are::<PoolSettings>(&page, "PoolSettings");
    defaults_are::<SessionSettings>(&page, "SessionSettings");
    defaults_are::<ServerSettings>(&page, "ServerSettings");
    defaults_are::<CircuitSettings>(&page, "CircuitSettings");
    defaults_are::<DriftSettings>(&page, "DriftSettings");
    defaults_are::<RollSettings>(&page, "RollSettings");
    defaults_are::<AdwinSettings>(&page, "AdwinSettings");
    defaults_are::<DdmSettings>(&page, "DdmSettings");
    defaults_are::<KswinSettings>(&page, "KswinSettings");
    defaults_are::<PageHinkleySettings>(&page, "PageHinkleySettings");
    defaults_are::<LookupSettings>(&page, "LookupSettings");
    defaults_are::<FetchSettings>(&page, "FetchSettings");
    defaults_are::<SimulationSettings>(&page, "SimulationSettings");
    let providers = json!(["cpu", { "cuda": { "device": 0 } }, { "tensorrt": { "device": 0 } }, { "openvino": { "device": "GPU" } }]);
    serde_json::from_value::<SessionSettings>(json!({ "providers": providers })).unwrap();
}

/// The example has each field, with another value than its default, and can work.
#[test]
fn the_example_on_the_page_of_settings_is_a_job() {
    let text = page("settings.md").code(Some("A file of settings"), "json");
    let settings: JobSettings = serde_json::from_str(&text).unwrap();
    settings.check().unwrap();
    let (written, all): (Json, Json) = (serde_json::from_str(&text).unwrap(), serde_json::to_value(&settings).unwrap());
    assert_eq!(written, all);
    let defaults = serde_json::to_value(JobSettings::default()).unwrap();
    for (field, value) in all.as_object().unwrap() {
        assert_ne!(*value, defaults[field], "{field}");
    }
}
