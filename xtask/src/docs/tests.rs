//! The pages' links lead somewhere, the files and functions that they name are there, and their programs are tests.

use std::path::Path;

use anyhow::{Result, ensure};

use super::page::{Page, pages};
use crate::root;

/// Folders of the repository whose files pages name by their path. `src` and `models` are left out: where pages say
/// these, they may mean the reader's own.
const FOLDERS: [&str; 11] =
    ["engine", "state", "operators", "connectors", "xtask", "testkit", "tests", "examples", "bench", "deploy", "docs"];

/// Returns whether this is a path of the repository.
fn is_path(code: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    code.split_once('/').is_some_and(|(first, _)| FOLDERS.contains(&first)) && code.chars().all(plain)
}

fn none(faults: Vec<String>) -> Result<()> {
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() -> Result<()> {
    let pages = pages()?;
    ensure!(pages.len() > 30, "only {} pages were found", pages.len());
    none(pages.values().flat_map(|page| page.broken(&pages)).collect())
}

#[test]
fn every_page_is_in_the_summary() -> Result<()> {
    let pages = pages()?;
    let summary = &pages[Path::new("docs/SUMMARY.md")];
    let missing = pages.keys().filter_map(|path| {
        let path = path.strip_prefix("docs").ok()?.to_str()?;
        let listed = path == "SUMMARY.md" || summary.links.iter().any(|link| link == path);
        (!listed).then(|| format!("docs/SUMMARY.md lacks {path}"))
    });
    none(missing.collect())
}

/// mdBook renames these pages and leaves the links to them as they were.
#[test]
fn every_index_of_a_folder_is_redirected_to() -> Result<()> {
    let book = std::fs::read_to_string(root().join("book.toml"))?;
    let missing = pages()?.into_keys().filter_map(|path| {
        let page = path.strip_prefix("docs").ok().filter(|path| path.ends_with("README.md"))?;
        let from = format!("\"/{}\" = \"index.html\"", page.with_extension("html").display());
        (!book.contains(&from)).then(|| format!("book.toml lacks the redirect {from}"))
    });
    none(missing.collect())
}

/// The changelog may name what is gone.
#[test]
fn every_file_that_a_page_names_is_there() -> Result<()> {
    let pages = pages()?;
    let now = pages.values().filter(|page| page.path != Path::new("CHANGELOG.md"));
    let missing = now.flat_map(|page| {
        let gone = page.codes.iter().filter(|code| is_path(code) && !root().join(code).exists());
        gone.map(|code| format!("{}: {code} is not there", page.path.display()))
    });
    none(missing.collect())
}

/// In a row of a table, functions behind a file are functions of that file: `connectors/src/splits.rs`, `next()`.
#[test]
fn every_function_that_a_row_names_is_in_its_file() -> Result<()> {
    let (mut missing, mut count) = (Vec::new(), 0);
    for page in pages()?.values() {
        for (file, function) in page.rows.iter().flat_map(|row| functions(row)) {
            let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            count += 1;
            if !text.contains(&format!("fn {function}(")) && !text.contains(&format!("fn {function}<")) {
                missing.push(format!("{}: {file} has no function {function}", page.path.display()));
            }
        }
    }
    ensure!(count > 20, "only {count} functions were found");
    none(missing)
}

/// Returns the functions that a row names, each with the file that it names before them.
fn functions(row: &[String]) -> impl Iterator<Item = (&str, &str)> {
    let mut file = None;
    row.iter().filter_map(move |code| {
        if is_path(code) {
            file = Some(code.as_str());
        }
        let path = code.strip_suffix("()")?;
        Some((file?, path.rsplit("::").next().unwrap_or(path)))
    })
}

#[test]
fn every_program_in_a_page_is_a_test() -> Result<()> {
    let list = std::fs::read_to_string(root().join("src/pages.rs"))?;
    let tested = |page: &Page| list.contains(&format!("include_str!(\"../{}\")", page.path.display()));
    let face = |page: &&Page| page.path.starts_with("docs") || page.path == Path::new("README.md");
    let pages = pages()?;
    let missing = pages.values().filter(face).filter(|page| page.has_program && !tested(page));
    none(missing.map(|page| format!("src/pages.rs lacks {}", page.path.display())).collect())
}
