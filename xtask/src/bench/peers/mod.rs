//! Tidemill beside other engines: each program runs the same jobs on the same files in turn, and what it writes is compared
//! with what it has to write.
//!
//! ```text
//! setup: engines, input, oracle ─▶ rounds: programs in turn ─▶ process: time, memory ─▶ check: output ─▶ table
//! ```
//! The programs are in `bench/peers`. docs/measured.md says what they compute, and what differs between them.

mod check;
mod command;
mod process;
mod programs;
pub mod setup;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::against;
use crate::{build_measurements, check as succeeds};

use check::Expected;
use command::Place;
use programs::{Build, Program};
use setup::Ready;
use table::Row;

#[derive(clap::Args)]
pub struct PeersArgs {
    /// Peers: only the programs whose names begin like one of these: iot, fraud/tidemill-2, … ("fraud" is not
    /// "fraud-score").
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Peers: without these engines: flink, bytewax, renoir, timely, …
    #[arg(long, value_delimiter = ',', value_name = "ENGINE")]
    skip: Vec<String>,
    /// Peers: the size of the input; Bytewax always has the small one [default: middle].
    #[arg(long, value_enum)]
    size: Option<Size>,
    /// Peers: the names of the programs, and nothing else.
    #[arg(long)]
    list: bool,
}

/// The size of the input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Size {
    /// 200,000 records: a test of the comparison itself.
    Small,
    /// 2,000,000 records.
    Middle,
    /// 10,000,000 records, for the fast engines: the start of a job counts less.
    Large,
}

impl Size {
    fn data(self) -> Result<PathBuf> {
        match self {
            Self::Small => setup::input("small", 200_000),
            Self::Middle => setup::input("middle", 2_000_000),
            Self::Large => setup::input("large", 10_000_000),
        }
    }
}

impl PeersArgs {
    /// Returns whether any of these arguments was given.
    pub fn are_given(&self) -> bool {
        !self.only.is_empty() || !self.skip.is_empty() || self.size.is_some() || self.list
    }

    fn programs(&self, with_other: bool) -> Result<Vec<Program>> {
        let mut programs = Program::all(with_other);
        let named = |program: &Program, name: &String| {
            let (job, engine) = name.split_once('/').unwrap_or((name, ""));
            program.job.name() == job && program.engine.to_string().starts_with(engine)
        };
        for name in &self.only {
            if !programs.iter().any(|program| named(program, name)) {
                bail!("no program's name begins with \"{name}\": `cargo xtask bench peers --list` names them");
            }
        }
        programs.retain(|program| {
            let engine = program.engine.to_string();
            let is_wanted = self.only.is_empty() || self.only.iter().any(|name| named(program, name));
            is_wanted && !self.skip.iter().any(|skipped| engine.starts_with(skipped.as_str()))
        });
        Ok(programs)
    }
}

pub fn run(args: &PeersArgs, rounds: usize, against: Option<&Path>, json: Option<&Path>) -> Result<()> {
    let programs = args.programs(against.is_some())?;
    if args.list {
        programs.iter().for_each(|program| println!("{program}"));
        return Ok(());
    }
    let against = against.map(|folder| needed_of(folder, &programs)).transpose()?;
    let against = against.as_deref();
    build_measurements()?;
    let ready = Ready::new(&programs)?;
    let size = args.size.unwrap_or(Size::Middle);
    let inputs = Inputs::new(size, &programs)?;
    let mut rows: Vec<Row> = programs.into_iter().map(Row::new).collect();
    for round in 1..=rounds {
        // Programs take turns, so that a slow minute of the machine affects all of them.
        for row in rows.iter_mut().filter(|row| round == 1 || !row.program.is_slow()) {
            // What cannot be set up or does not work once is not tried again.
            if row.failures.is_empty() {
                let (data, expected) = inputs.of(row.program)?;
                eprintln!("round {round} of {rounds}: {}", row.program);
                match once(row.program, &ready, data, expected, against) {
                    Ok(run) => row.runs.push(run),
                    Err(error) => row.failures.push(format!("{error:#}")),
                }
            }
        }
    }
    table::print(&rows);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&table::json(&rows))?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let wrong: Vec<String> = rows.iter().filter(|row| !row.is_right()).map(|row| row.program.to_string()).collect();
    if wrong.is_empty() { Ok(()) } else { bail!("not run, or with wrong output: {}", wrong.join(", ")) }
}

/// Returns the folder of the other build, if it has the programs of that build that will run.
fn needed_of(folder: &Path, programs: &[Program]) -> Result<PathBuf> {
    let others = programs.iter().filter(|program| program.is_of(Build::Other));
    let needed: BTreeSet<&str> = others.map(|program| command::tidemill_program(program.job)).collect();
    against::folder(folder, &needed.into_iter().collect::<Vec<_>>())
}

/// The input of each size that is needed, and what has to come out.
struct Inputs {
    size: Size,
    all: BTreeMap<Size, (PathBuf, Expected)>,
}

impl Inputs {
    fn new(size: Size, programs: &[Program]) -> Result<Self> {
        let mut all = BTreeMap::new();
        for size in [Size::Small, size] {
            if programs.iter().any(|program| Self::size_of(size, *program) == size) && !all.contains_key(&size) {
                let data = size.data()?;
                let expected = Expected::read(&data)?;
                all.insert(size, (data, expected));
            }
        }
        Ok(Self { size, all })
    }

    fn size_of(asked_for: Size, program: Program) -> Size {
        if program.is_small() { Size::Small } else { asked_for }
    }

    fn of(&self, program: Program) -> Result<(&Path, &Expected)> {
        let found = self.all.get(&Self::size_of(self.size, program)).context("an input was not made")?;
        Ok((&found.0, &found.1))
    }
}

/// Runs a program once and checks its output, which stays on disk if it is wrong.
fn once(
    program: Program,
    ready: &Ready,
    data: &Path,
    expected: &Expected,
    against: Option<&Path>,
) -> Result<(process::Taken, Vec<String>)> {
    let folder = setup::home().join("out").join(program.to_string());
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let out = folder.join("out");
    fs::create_dir_all(&out)?;
    let place = Place { data, out: &out, against };
    if let Some(mut preparation) = place.preparation(program, ready)? {
        succeeds(&mut preparation)?;
    }
    let mut command = place.command(program, ready)?;
    let taken = process::run(&mut command, &folder)?;
    let faults = expected.faults(program.job, &out)?;
    if faults.is_empty() {
        fs::remove_dir_all(&folder)?;
    }
    Ok((taken, faults))
}
