//! Benchmarks of the Nexmark queries, whose results are discarded. Runs take turns, and medians are reported.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::measure::{job, median};
use crate::cache;

const QUERIES: [&str; 12] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q11", "q12", "q13"];
const CHECKPOINTS: [(&str, Option<&str>); 2] = [("off", None), ("1 s", Some("1s"))];

#[derive(clap::Args)]
pub struct NexmarkArgs {
    /// Nexmark: events of each run [default: 2000000].
    #[arg(long)]
    events: Option<u64>,
    /// Nexmark: numbers of workers [default: 1,2].
    #[arg(long, value_delimiter = ',')]
    workers: Option<Vec<usize>>,
}

impl NexmarkArgs {
    /// Returns whether any of these arguments was given.
    pub fn are_given(&self) -> bool {
        self.events.is_some() || self.workers.is_some()
    }
}

pub fn run(args: &NexmarkArgs, runs: usize, json: Option<&Path>) -> Result<()> {
    let events = args.events.unwrap_or(2_000_000);
    let workers = args.workers.clone().unwrap_or_else(|| vec![1, 2]);
    if workers.contains(&0) || events == 0 {
        bail!("--workers and --events are numbers from 1");
    }
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    let columns: Vec<(usize, usize)> =
        workers.iter().flat_map(|workers| (0..CHECKPOINTS.len()).map(move |at| (*workers, at))).collect();
    // Queries take turns, so that a slow minute of the machine affects all of them.
    let mut speeds: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..runs {
        for (row, query) in QUERIES.iter().enumerate() {
            for (column, (workers, checkpoints)) in columns.iter().enumerate() {
                let (count, workers) = (events.to_string(), workers.to_string());
                let arguments = ["--query", query, "--events", &count, "--workers", &workers];
                let report = job(&folder, "nexmark", &arguments, CHECKPOINTS[*checkpoints].1)?;
                let ms = report["elapsed_ms"].as_f64().context("the report has no elapsed_ms")?;
                speeds.entry((row, column)).or_default().push(events as f64 / ms * 1000.0);
            }
        }
    }
    println!("\n{events} events, generated as they are read; medians of {runs} runs, events/s, no output written");
    let head = columns.iter().map(|(workers, at)| format!("{workers} workers, {}", CHECKPOINTS[*at].0));
    println!("{:<6}{}", "", head.map(|name| format!("{name:>18}")).collect::<String>());
    let mut rows = Vec::new();
    for (row, query) in QUERIES.iter().enumerate() {
        let mut line = format!("{query:<6}");
        for (column, (workers, checkpoints)) in columns.iter().enumerate() {
            let speed = median(speeds.remove(&(row, column)).unwrap_or_default());
            line += &format!("{speed:>18.0}");
            rows.push(json!({
                "query": query, "workers": workers, "checkpoints": CHECKPOINTS[*checkpoints].0,
                "events_per_second": speed, "events": events, "runs": runs,
            }));
        }
        println!("{line}");
    }
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
