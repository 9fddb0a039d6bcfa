//! Tests that hold the reference pages in `docs/operate` against the sources: what is added, renamed or removed there
//! fails them until the page says so. What only a running program knows is compared in
//! `tests/library/pages.rs` (flags, defaults) and `tests/metrics/page.rs` (the metrics of a job).

mod scan;

use std::collections::{BTreeMap, BTreeSet};

use testkit::page::{ReferencePage, code_of};

use crate::root;
use scan::{Source, library, repository};

fn page(name: &str) -> ReferencePage {
    ReferencePage::read(&root().join("docs/operate").join(name))
}

/// Returns the first cells of the rows below a heading, without the marks of code.
fn first(page: &ReferencePage, heading: &str) -> Vec<String> {
    page.rows(Some(heading)).iter().map(|row| code_of(&row[0]).to_owned()).collect()
}

#[track_caller]
fn same<T: Ord + std::fmt::Debug>(
    page: &str,
    code: impl IntoIterator<Item = T>,
    documented: impl IntoIterator<Item = T>,
) {
    let code: BTreeSet<T> = code.into_iter().collect();
    let documented: BTreeSet<T> = documented.into_iter().collect();
    let missing: Vec<&T> = code.difference(&documented).collect();
    let gone: Vec<&T> = documented.difference(&code).collect();
    assert!(!code.is_empty(), "the scan finds nothing for {page}");
    assert!(missing.is_empty() && gone.is_empty(), "{page} lacks {missing:#?}, and has what is not there: {gone:#?}");
}

#[test]
fn each_environment_variable_that_is_read_is_on_the_page_of_flags() {
    let read = repository().iter().flat_map(Source::variables).collect::<BTreeSet<_>>();
    let page = page("flags.md");
    let own = first(&page, "Environment variables of a job");
    same(
        "flags.md",
        read,
        own.iter().cloned().chain(first(&page, "Environment variables of this repository's chores and tests")),
    );
    let of_library = library().iter().flat_map(Source::variables).collect::<BTreeSet<_>>();
    same("flags.md, of a job,", of_library, own);
}

#[test]
fn each_type_of_settings_has_its_fields_on_the_page_of_settings() {
    let page = page("settings.md");
    let types: BTreeMap<String, Vec<(String, String)>> =
        library().iter().flat_map(|source| source.structs("Settings")).collect();
    let headings = page.headings().into_iter().filter(|heading| heading.ends_with("Settings"));
    same("settings.md", types.keys().cloned(), headings);
    for (name, fields) in types {
        let rows = page.rows(Some(&name));
        let documented: Vec<_> =
            rows.iter().map(|row| (code_of(&row[0]).to_owned(), code_of(&row[1]).to_owned())).collect();
        assert_eq!(fields, documented, "settings.md, {name}");
    }
}

#[test]
fn each_method_that_sets_something_of_a_connector_is_on_the_page_of_settings() {
    let sources: Vec<Source> = library().into_iter().filter(|source| source.is_in("connectors/src")).collect();
    let shared: Vec<String> = sources.iter().flat_map(Source::shared_builder_methods).collect();
    assert!(!shared.is_empty(), "the macro that sources share is somewhere else");
    let methods: Vec<String> = sources.iter().flat_map(|source| source.builder_methods(&shared)).collect();
    same("settings.md", methods, first(&page("settings.md"), "Sources and sinks"));
}

/// A metric of an operator of the library has a family of its own: it is not shown as one of the program's.
#[test]
fn each_metric_that_an_operator_registers_has_its_family() {
    let sources = library().into_iter().filter(|source| !source.is_in("engine/src/testing")).collect::<Vec<_>>();
    let placed = sources.iter().find(|source| source.is_in("engine/src/metrics/own.rs")).unwrap().names_placed();
    let of_operators =
        |source: &&Source| !source.is_in("engine/src/metrics") && !source.is_in("engine/src/keyed/context.rs");
    let registered = sources.iter().filter(of_operators).flat_map(Source::metrics_registered);
    same("engine/src/metrics/own.rs", registered, placed);
}

#[test]
fn each_field_of_the_status_is_on_the_page_of_metrics() {
    let page = page("metrics.md");
    let structs: BTreeMap<_, _> = library()
        .iter()
        .flat_map(|source| [source.structs("Snapshot"), source.structs("Percentiles")])
        .flatten()
        .collect();
    for (name, heading) in [
        ("Snapshot", "Fields of /status"),
        ("OperatorSnapshot", "Fields of an operator in /status"),
        ("PartitionSnapshot", "Fields of a partition in /status"),
        ("WorkerSnapshot", "Fields of a worker in /status"),
        ("Percentiles", "Fields of percentiles in /status"),
    ] {
        let fields = structs[name].iter().map(|(field, _)| field.clone());
        same(&format!("metrics.md, {heading}"), fields, first(&page, heading));
    }
    let details = library().iter().flat_map(Source::details).collect::<Vec<_>>();
    let row = page.section(Some("Fields of an operator in /status"));
    details.iter().for_each(|name| assert!(row.contains(&format!("`{name}`")), "{name}"));
}

#[test]
fn each_variant_of_an_error_is_on_the_page_of_errors() {
    let page = page("errors.md");
    let mut enums: BTreeMap<String, Vec<String>> = library().iter().flat_map(Source::enums).collect();
    let mut documented = |name: &str, heading: &str| {
        let variants = enums.remove(name).unwrap_or_default();
        same(&format!("errors.md, {heading}"), variants, first(&page, heading));
    };
    documented("ErrorKind", "Kinds");
    documented("Remedy", "Remedies");
    ["JobError", "StateError", "ModelError", "RunError", "LogicError", "NotDecoded", "DriftError"]
        .iter()
        .for_each(|name| documented(name, name));
    assert!(enums.is_empty(), "errors.md has no table of {:?}", enums.keys());
    let structs = library().iter().flat_map(|source| source.unique_errors()).collect::<Vec<_>>();
    same("errors.md", structs, first(&page, "Other errors"));
}

/// Where the code gives a variant one kind, the page has that kind.
#[test]
fn each_variant_has_its_kind_on_the_page_of_errors() {
    let page = page("errors.md");
    let kinds: BTreeMap<String, String> = library().iter().flat_map(Source::kinds).collect();
    let mut count = 0;
    for name in ["JobError", "StateError", "ModelError"] {
        for row in page.rows(Some(name)) {
            let (variant, documented) = (code_of(&row[0]), code_of(&row[1]));
            let kind = kinds.get(&format!("{name}::{variant}")).map_or("as its cause", String::as_str);
            assert_eq!(documented, kind, "{name}::{variant}");
            count += 1;
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn exit_codes_and_hints_are_as_on_the_page_of_errors() {
    let page = page("errors.md");
    let cli = library().into_iter().find(|source| source.is_in("engine/src/cli/mod.rs")).unwrap();
    let codes = cli.exit_codes();
    let rows = page.rows(Some("Exit codes"));
    let documented =
        rows.iter().filter(|row| !row[1].is_empty()).map(|row| (code_of(&row[1]).to_owned(), row[0].clone()));
    // A kind without an arm has 1.
    let codes = codes.into_iter().chain([("Internal".to_owned(), "1".to_owned())]);
    same("errors.md, Exit codes", codes, documented);
    let hints = cli.hints();
    for row in page.rows(Some("Remedies")) {
        let (remedy, hint) = (code_of(&row[0]), code_of(&row[1]));
        let begin = hints.get(remedy).unwrap_or_else(|| panic!("{remedy} has no hint"));
        assert!(hint.starts_with(begin.as_str()), "{remedy}: {hint} is not {begin}");
    }
}
