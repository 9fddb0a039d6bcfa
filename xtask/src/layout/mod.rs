//! The layout of the source: files, circles of imports, long lines, and the number of crates that a program compiles.
//!
//! ```text
//! tokens ─▶ modules: what a file defines, imports and mentions ─▶ graph: which file imports which ─▶ circles
//! ```
//! Imports are `use`, and paths in code (`position::encode(…)`), of the crate itself, outside of its tests. Known
//! limits: a method that another file adds to a type is no import, nor is what a macro of another file expands to.

mod graph;
mod modules;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::tools::rust_files;
use crate::{cargo, root};

/// Crates whose files may still form circles. No crate may be added, and a crate without circles is to be removed.
#[cfg(test)]
const NOT_YET: &[&str] = &[];

const LONG_LINE: usize = 100;

pub fn run() -> Result<()> {
    println!("{:<12} {:>6} {:>8} {:>9} {:>9}  longest files", "crate", "files", "circles", "largest", "lines>100");
    let mut total = [0; 3];
    let mut circles = Vec::new();
    for folder in crates()? {
        let found = Layout::of(&folder)?;
        let largest = found.files.first().map_or(0, Vec::len);
        let lengths: Vec<String> =
            found.lengths.iter().take(3).map(|(lines, path)| format!("{} {lines}", path.display())).collect();
        println!(
            "{:<12} {:>6} {:>8} {largest:>9} {:>9}  {}",
            found.name,
            found.lengths.len(),
            found.files.len(),
            found.long_lines,
            lengths.join(", ")
        );
        total = [total[0] + found.lengths.len(), total[1] + found.files.len(), total[2] + found.long_lines];
        circles.extend(found.faults());
    }
    println!("{:<12} {:>6} {:>8} {:>9} {:>9}\n", "all", total[0], total[1], "", total[2]);
    for circle in circles {
        println!("{circle}");
    }
    let smallest = compiled(&["-p", "tidemill", "--no-default-features", "-e", "normal,build"])?;
    let all = compiled(&["--workspace", "--all-features"])?;
    println!("crates compiled: {smallest} for the smallest program, {all} for the whole with its tests");
    Ok(())
}

/// Returns the folders of the crates that have a `src`. Tests, programs and measurements are packages without one, and
/// count as the project's own.
fn crates() -> Result<Vec<PathBuf>> {
    let mut folders = vec![root().to_owned()];
    for entry in std::fs::read_dir(root())? {
        let path = entry?.path();
        if path.join("Cargo.toml").exists() && path.join("src").exists() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

struct Layout {
    name: String,
    /// Number of lines of each file, the longest first. Tests, examples and benchmarks are included.
    lengths: Vec<(usize, PathBuf)>,
    long_lines: usize,
    /// Circles of files that import each other, directly or through others.
    files: Vec<Vec<String>>,
    /// Circles of folders (and files beside them) that import each other, although none of their files do.
    folders: Vec<Vec<String>>,
}

impl Layout {
    fn of(folder: &Path) -> Result<Self> {
        let name = folder.strip_prefix(root()).unwrap_or(folder).display().to_string();
        let name = if name.is_empty() { "tidemill".to_owned() } else { name };
        let mut sources = Vec::new();
        for part in ["src", "tests", "examples", "bench"] {
            rust_files(&folder.join(part), &mut sources)?;
        }
        let (mut lengths, mut long_lines) = (Vec::new(), 0);
        for path in sources {
            let text = std::fs::read_to_string(&path)?;
            long_lines += text.lines().filter(|line| line.chars().count() > LONG_LINE).count();
            lengths.push((text.lines().count(), path.strip_prefix(folder)?.to_owned()));
        }
        lengths.sort_by(|left, right| right.cmp(left));
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file));
        let crate_root = roots.iter().find(|file| file.exists()).context("a crate has neither lib.rs nor main.rs")?;
        let (files, folders) = circles(&modules::read(crate_root)?);
        Ok(Self { name, lengths, long_lines, files, folders })
    }

    /// Returns what is wrong, one line for each fault.
    fn faults(&self) -> Vec<String> {
        let text = |what: &str, circle: &Vec<String>| {
            format!("{}: a circle of {} {what}: {}", self.name, circle.len(), circle.join(", "))
        };
        let files = self.files.iter().map(|circle| text("files", circle));
        files.chain(self.folders.iter().map(|circle| text("folders", circle))).collect()
    }
}

/// Returns the circles of a crate's files, and those circles of its folders that no circle of files explains.
fn circles(read: &modules::Crate) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let graph = graph::imports(read);
    let paths: Vec<&[String]> = read.files.iter().map(|(_, module)| module.as_slice()).collect();
    let of_files = graph::circles(&graph);
    let files: Vec<Vec<String>> =
        of_files.iter().map(|circle| circle.iter().map(|file| shown(paths[*file])).collect()).collect();

    // For each folder, the arrows between the files and folders directly in it.
    let mut beside: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for (from, targets) in &graph {
        for to in targets {
            if of_files.iter().any(|circle| circle.contains(from) && circle.contains(to)) {
                continue;
            }
            let (from, to) = (paths[*from], paths[*to]);
            let shared = from.iter().zip(to).take_while(|(from, to)| from == to).count();
            // The definitions in a folder's own file belong to the folder: no arrow leads out of it or up to it.
            let (Some(from_name), Some(to_name)) = (from.get(shared), to.get(shared)) else { continue };
            beside.entry(&from[..shared]).or_default().entry(from_name).or_default().insert(to_name);
        }
    }
    let folders = beside.iter().flat_map(|(folder, graph)| {
        graph::circles(graph)
            .into_iter()
            .map(move |circle| circle.iter().map(|name| shown(&[*folder, &[(*name).to_owned()]].concat())).collect())
    });
    (files, folders.collect())
}

/// Returns the path of a module as text, as in `kafka/sink`.
fn shown(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("/") }
}

/// Returns the number of crates that cargo compiles for these arguments, including those of the workspace.
fn compiled(choice: &[&str]) -> Result<usize> {
    let arguments = ["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"];
    let output = cargo().args(arguments).args(choice).output().context("cannot start cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    // Cargo marks a crate that is listed again with `(*)`.
    let packages = text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty());
    Ok(packages.collect::<BTreeSet<_>>().len())
}

#[cfg(test)]
mod tests;
