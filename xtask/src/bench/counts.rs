//! Counts the instructions of the hot pieces of the engine in valgrind, and compares them with the counts in
//! `bench/counts.json`. Unlike times they are the same on a busy machine, so that a loss of a few per cent shows.
//!
//! A piece is run for a few rounds and for twice as many. The difference is that of the rounds alone, without the start of
//! the process and the growth of tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::tools::build_measurement;
use crate::{debian, measurement, root, scratch};

/// What a piece may take more than its count in the file.
const TOLERANCE: f64 = 0.05;
/// Enough for rolling windows of a minute to be full, with rounds of ten seconds.
const ROUNDS: u64 = 8;

#[derive(clap::Args)]
pub struct CountsArgs {
    /// Counts: write what was counted to bench/counts.json, instead of comparing it with that.
    #[arg(long)]
    pub update: bool,
}

pub fn run(args: &CountsArgs) -> Result<()> {
    valgrind()?;
    build_measurement("count_pieces")?;
    let known = Counts::read()?;
    let found = Counts::count()?;
    found.print(&known);
    if args.update {
        return found.write();
    }
    let worse = found.above(&known);
    let missing: Vec<&String> = known.pieces.keys().filter(|name| !found.pieces.contains_key(*name)).collect();
    if worse.is_empty() && missing.is_empty() {
        return Ok(());
    }
    if known.compiler != found.compiler {
        println!("the counts are of {}, and this is {}", known.compiler, found.compiler);
    }
    bail!(
        "more than {:.0} % above bench/counts.json: {worse:?}; in the file, but no piece any more: {missing:?}. \
         If that is meant, `cargo xtask bench counts --update` writes the new counts",
        TOLERANCE * 100.0
    )
}

/// Instructions a record.
struct Counts {
    compiler: String,
    pieces: BTreeMap<String, f64>,
}

impl Counts {
    fn path() -> PathBuf {
        root().join("bench/counts.json")
    }

    fn read() -> Result<Self> {
        let text = fs::read(Self::path()).unwrap_or_else(|_| b"{}".to_vec());
        let found: Value = serde_json::from_slice(&text).context("bench/counts.json is not JSON")?;
        let pieces = found["instructions_per_record"].as_object().into_iter().flatten();
        let pieces = pieces.filter_map(|(name, count)| Some((name.clone(), count.as_f64()?))).collect();
        Ok(Self { compiler: found["compiler"].as_str().unwrap_or("no compiler").to_owned(), pieces })
    }

    fn write(&self) -> Result<()> {
        let rounded = self.pieces.iter().map(|(name, count)| (name.clone(), json!((count * 10.0).round() / 10.0)));
        let pieces: serde_json::Map<String, Value> = rounded.collect();
        let text =
            serde_json::to_string_pretty(&json!({ "compiler": self.compiler, "instructions_per_record": pieces }))?;
        fs::write(Self::path(), text + "\n").context("cannot write bench/counts.json")
    }

    fn count() -> Result<Self> {
        let folder = scratch("counts")?;
        let list = measurement("count_pieces")?.output()?;
        ensure!(list.status.success(), "count_pieces lists no pieces");
        let mut pieces = BTreeMap::new();
        for line in String::from_utf8(list.stdout)?.lines() {
            let (name, records) = line.split_once(' ').context("count_pieces lists pieces without records")?;
            let records: u64 = records.parse()?;
            let (few, many) = std::thread::scope(|scope| {
                let few = scope.spawn(|| instructions(name, ROUNDS, &folder));
                let many = instructions(name, 2 * ROUNDS, &folder);
                (few.join(), many)
            });
            let few = few.map_err(|_| anyhow!("counting {name} panicked"))??;
            pieces.insert(name.to_owned(), many?.saturating_sub(few) as f64 / (ROUNDS * records) as f64);
        }
        let rustc = Command::new("rustc").arg("--version").current_dir(root()).output()?;
        Ok(Self { compiler: String::from_utf8(rustc.stdout)?.trim().to_owned(), pieces })
    }

    fn print(&self, known: &Self) {
        println!("\ninstructions a record {:>10} {:>10} {:>8}", "in file", "now", "change");
        for (name, count) in &self.pieces {
            let before = known.pieces.get(name);
            let shown = before.map_or_else(String::new, |before| format!("{before:.1}"));
            let change = before.map_or_else(String::new, |before| format!("{:+.1} %", (count / before - 1.0) * 100.0));
            println!("{name:<21} {shown:>10} {count:>10.1} {change:>8}");
        }
    }

    /// Returns the pieces that take more than they may, or are not known.
    fn above(&self, known: &Self) -> Vec<&str> {
        let is_above = |(name, count): &(&String, &f64)| {
            known.pieces.get(*name).is_none_or(|before| **count > before * (1.0 + TOLERANCE))
        };
        self.pieces.iter().filter(is_above).map(|(name, _)| name.as_str()).collect()
    }
}

/// Returns the number of instructions of a process that runs a piece for some rounds.
fn instructions(piece: &str, rounds: u64, folder: &Path) -> Result<u64> {
    let program = measurement("count_pieces")?;
    let out = folder.join(format!("{piece}-{rounds}.txt"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=cachegrind", "--cache-sim=no"]);
    valgrind.arg(format!("--cachegrind-out-file={}", out.display()));
    valgrind.arg(program.get_program()).args([piece, &rounds.to_string()]);
    let output = valgrind.stdin(Stdio::null()).output().context("cannot start valgrind")?;
    ensure!(output.status.success(), "{piece} in valgrind: {}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&out)?;
    let summary = text.lines().find_map(|line| line.strip_prefix("summary:")).context("valgrind wrote no summary")?;
    Ok(summary.trim().split(' ').next().unwrap_or_default().parse()?)
}

/// Installs valgrind if it is missing.
fn valgrind() -> Result<()> {
    let has = || Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if has() {
        return Ok(());
    }
    println!("setup: valgrind is not here; installing it");
    debian::install(&["valgrind"])?;
    ensure!(has(), "valgrind was installed, but does not run");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pieces: &[(&str, f64)]) -> Counts {
        let pieces = pieces.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { compiler: String::new(), pieces }
    }

    #[test]
    fn a_piece_may_take_five_per_cent_more_and_must_be_in_the_file() {
        let known = counts(&[("a", 100.0), ("b", 100.0), ("c", 100.0)]);
        let found = counts(&[("a", 104.9), ("b", 105.1), ("c", 50.0), ("d", 1.0)]);
        assert_eq!(found.above(&known), ["b", "d"]);
    }
}
