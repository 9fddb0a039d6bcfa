//! Measures a restart after a kill: seconds from the start of the process to its first output and to its first commit,
//! for states of several sizes.
//!
//! ```text
//! fill     a job writes the state, and is killed: what it leaves is a base (if the state is large) and deltas
//! restart  the same job, from a copy of those files; killed after its first commit. The median of some counts.
//! ```
//! The job has no model, so the time is that of the engine alone. The second line of each size is from the log of the
//! last restart: the parts of its start.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a row: key and value.
const ROW_BYTES: u64 = 112;

/// Size of deltas from which on a base follows soon: then the restart is measured after that.
const MOST_DELTAS: u64 = 64 << 20;

/// Measures restarts of a job that was killed.
#[derive(Clone, Parser)]
struct Args {
    /// Sizes of the state, in MB.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 1024])]
    sizes: Vec<u64>,
    /// Restarts of each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Records per second after a restart.
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// Restarts from what the killed job left, which may be deltas alone, instead of waiting until it has a base.
    #[arg(long)]
    without_base: bool,
    /// Where checkpoints are written; in the system's folder of temporary files by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Runs the job itself, which writes this many keys.
    #[arg(long, hide = true)]
    keys: Option<u64>,
    /// Whether the job takes its input as fast as it can.
    #[arg(long, hide = true)]
    fast: bool,
    #[command(flatten)]
    job: JobArgs,
}

/// A value of 96 bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Totals([u64; 12]);

struct Count(ValueState<u64, Totals>);

impl KeyedLogic for Count {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, u64, ()>, record: Record<u64>) -> Result<(), LogicError> {
        self.0
            .update(ctx, Totals::default, |totals| totals.0.iter_mut().for_each(|n| *n += record.data + (1 << 60)))?;
        ctx.emit(record.data);
        Ok(())
    }
}

fn main() -> Result<(), JobError> {
    let args = Args::parse();
    if let Some(keys) = args.keys {
        return job(&args, keys);
    }
    println!("medians of {} restarts, {} workers, after a kill", args.runs, args.job.settings.workers);
    println!("{:>9} {:>14} {:>16} {:>16}", "state", "on disk", "first output s", "first commit s");
    for megabytes in &args.sizes {
        measure(&args, *megabytes);
    }
    Ok(())
}

fn job(args: &Args, keys: u64) -> Result<(), JobError> {
    let rate = (!args.fast).then_some(args.rate);
    Job::new("restart_cost", args.job.clone()).run(move |flow| {
        let numbers = Generator::new(u64::MAX / 2, |index| (EventTime(index as i64), index)).rate(rate);
        // Beyond the first `keys` records, keys come again in a mixed order.
        let key =
            move |index: &u64| if *index < keys { *index } else { index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys };
        let (mut first, mut full) = (false, false);
        flow.source("numbers", &numbers)?
            .key_by(key)
            .process("count", Order::Arrival, |states| Ok(Count(states.value("totals")?)))?
            .results
            .for_each("lines", move |record| {
                say_once(&mut first, true, "output");
                say_once(&mut full, record.data >= keys, "full");
            })
    })?;
    Ok(())
}

fn say_once(said: &mut bool, now: bool, line: &str) {
    if now && !*said {
        *said = true;
        // The other side stops reading once it has the line that it waits for.
        _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn measure(args: &Args, megabytes: u64) {
    let scratch =
        args.dir.clone().unwrap_or_else(std::env::temp_dir).join(format!("restart_cost-{}", std::process::id()));
    let (filled, copy) = (scratch.join("filled"), scratch.join("copy"));
    let keys = (megabytes << 20) / ROW_BYTES;
    let mut child = start(args, keys, true, &filled);
    // Some epochs more, so that the checkpoint has all keys.
    wait_for_line(&mut child, "full");
    let full = newest_epoch(&filled);
    while newest_epoch(&filled) < full + 4 {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    kill(child);
    if !args.without_base && bytes_below(&filled.join("deltas")) > MOST_DELTAS {
        settle(args, keys, &filled);
    }
    let (mut outputs, mut commits, mut log) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..args.runs.max(1) {
        drop(fs::remove_dir_all(&copy));
        link_all(&filled, &copy);
        let (before, begun) = (newest_epoch(&copy), Instant::now());
        let mut child = start(args, keys, false, &copy);
        wait_for_line(&mut child, "output");
        outputs.push(begun.elapsed().as_secs_f64());
        while newest_epoch(&copy) <= before {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        commits.push(begun.elapsed().as_secs_f64());
        log = kill(child);
    }
    let on_disk =
        format!("{} MB", bytes_below(&filled.join("bases")).wrapping_add(bytes_below(&filled.join("deltas"))) >> 20);
    println!("{megabytes:>6} MB {on_disk:>14} {:>16.3} {:>16.3}", median(outputs), median(commits));
    log.lines()
        .filter_map(|line| line.find("restored epoch").and_then(|at| line.get(at..)))
        .for_each(|line| println!("          {line}"));
    drop(fs::remove_dir_all(&scratch));
}

/// Runs the job, at its rate, until its checkpoint has a base, and some epochs more.
fn settle(args: &Args, keys: u64, checkpoints: &Path) {
    let mut child = start(args, keys, false, checkpoints);
    wait_for_line(&mut child, "output");
    let mut based = 0;
    while based == 0 || newest_epoch(checkpoints) < based + 8 {
        let epoch = newest_epoch(checkpoints);
        let manifest = fs::read_to_string(checkpoints.join(format!("manifests/{epoch:020}.json")));
        if based == 0 && manifest.is_ok_and(|text| text.split_whitespace().collect::<String>().contains("\"base\":{")) {
            based = epoch;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    kill(child);
}

fn start(args: &Args, keys: u64, fast: bool, dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a program knows its path"));
    command.args(["--log-level", "info", "--keys", &keys.to_string(), "--rate", &args.rate.to_string()]);
    command.args(["--workers", &args.job.settings.workers.to_string()]).arg("--checkpoint-dir").arg(dir);
    let interval = humantime::format_duration(args.job.settings.checkpoint_interval).to_string();
    command.args(["--checkpoint-interval", &interval]);
    if fast {
        command.arg("--fast");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the job starts")
}

fn wait_for_line(child: &mut Child, line: &str) {
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert!(lines.map_while(Result::ok).any(|found| found == line), "the job ended before \"{line}\"");
}

/// Kills the job. Returns its log.
fn kill(mut child: Child) -> String {
    child.kill().expect("a child can be killed");
    let mut log = String::new();
    drop(child.stderr.take().expect("it is piped").read_to_string(&mut log));
    drop(child.wait());
    log
}

/// Returns the number of the newest manifest that is not the claim of a start.
fn newest_epoch(checkpoints: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(checkpoints.join("manifests")) else { return 0 };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let is_claim = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("\"claim\""));
    let newest = paths.iter().rev().find(|path| !is_claim(path));
    newest.and_then(|path| path.file_stem()?.to_str()?.parse().ok()).unwrap_or(0)
}

/// Makes a copy of a folder by hard links: no file of a checkpoint is ever changed.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a scratch folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { link_all(&path, &target) } else { fs::hard_link(&path, &target).expect("the same disk") }
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { bytes_below(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
            },
        )
        .sum()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
