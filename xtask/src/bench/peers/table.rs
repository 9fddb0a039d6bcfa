//! The table: medians of each program's runs, and how they compare.

use serde_json::{Value, json};

use super::process::Taken;
use super::programs::{Build, Engine, Program};
use crate::bench::measure::median;

/// A program, with its runs.
pub struct Row {
    pub program: Program,
    /// What each run took, and what was wrong with its output.
    pub runs: Vec<(Taken, Vec<String>)>,
    /// Why runs failed, or why there were none.
    pub failures: Vec<String>,
}

impl Row {
    pub fn new(program: Program) -> Self {
        Self { program, runs: Vec::new(), failures: Vec::new() }
    }

    fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.runs.iter().map(|(taken, _)| taken.records / taken.seconds).collect();
        rates.sort_by(f64::total_cmp);
        rates
    }

    /// Returns records per second, the median, if the program ran.
    fn rate(&self) -> Option<f64> {
        (!self.runs.is_empty()).then(|| median(self.rates()))
    }

    fn median_of(&self, part: impl Fn(&Taken) -> f64) -> f64 {
        median(self.runs.iter().map(|(taken, _)| part(taken)).collect())
    }

    fn records(&self) -> f64 {
        self.runs.first().map_or(0.0, |(taken, _)| taken.records)
    }

    /// Returns "right", or what was wrong.
    fn verdict(&self) -> String {
        let faults = self.runs.iter().flat_map(|(_, faults)| faults).chain(&self.failures);
        faults.map(|fault| format!("WRONG: {}", shorten(fault))).next().unwrap_or_else(|| "right".to_owned())
    }

    /// Returns whether the program ran, and all of its output was right.
    pub fn is_right(&self) -> bool {
        !self.runs.is_empty() && self.failures.is_empty() && self.runs.iter().all(|(_, faults)| faults.is_empty())
    }
}

/// Returns the records per second of the program of the same job whose engine is this one.
fn rate_of(rows: &[Row], of: &Row, engine: Engine) -> Option<f64> {
    let row = rows.iter().find(|row| row.program == Program { job: of.program.job, engine })?;
    // Rates on inputs of different sizes are not compared.
    row.rate().filter(|_| row.records() == of.records())
}

/// Prints the table.
pub fn print(rows: &[Row]) {
    println!(
        "\n| program | records/s, median (min–max) | runs | of the limit, per core | of plain timely | CPU s a million | wall s | peak MB | steal | records | output |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    );
    for row in rows {
        let Some(rate) = row.rate() else {
            let reason = row.failures.first().map_or("not run", String::as_str);
            println!("| {} | {} |||||||||", row.program, shorten(reason));
            continue;
        };
        let rates = row.rates();
        let (least, most) = (rates.first().copied().unwrap_or(rate), rates.last().copied().unwrap_or(rate));
        let (of_limit, of_timely) = (of_limit(rows, row), of_timely(rows, row));
        println!(
            "| {} | {} ({}–{}) | {} | {} | {} | {:.2} | {:.1} | {:.0} | {:.0} % | {} | {} |",
            row.program,
            short(rate),
            short(least),
            short(most),
            rates.len(),
            percent(of_limit),
            percent(of_timely),
            row.median_of(|taken| taken.cpu / taken.records * 1e6),
            row.median_of(|taken| taken.wall),
            row.median_of(|taken| taken.peak_mb),
            row.median_of(|taken| taken.steal * 100.0),
            row.records(),
            row.verdict(),
        );
    }
    print_ratios(rows);
}

fn of_limit(rows: &[Row], row: &Row) -> Option<f64> {
    Some(row.rate()? / rate_of(rows, row, Engine::Limit)? / row.program.workers() as f64)
}

fn of_timely(rows: &[Row], row: &Row) -> Option<f64> {
    Some(row.rate()? / rate_of(rows, row, Engine::Timely { workers: row.program.workers() })?)
}

/// Prints how many times as fast as Flink Tidemill is, both with two workers and checkpoints each second, and the rate of
/// Flink's second half, when Java has compiled most of it.
fn print_ratios(rows: &[Row]) {
    println!();
    for row in rows {
        let Engine::Flink { .. } = row.program.engine else { continue };
        let steady = |taken: &Taken| taken.second_half.map_or(f64::NAN, |seconds| taken.records / 2.0 / seconds);
        let ours = Engine::Tidemill { workers: 2, checkpoints: Some("1s"), of: Build::This };
        let (Some(rate), Some(ours)) = (row.rate(), rate_of(rows, row, ours)) else { continue };
        println!(
            "{}: tidemill-2-ck1s is {:.1} times as fast; its second half ran at {} records/s",
            row.program,
            ours / rate,
            short(row.median_of(steady))
        );
    }
}

/// Returns the rows as JSON.
pub fn json(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|row| {
            let runs = row.runs.iter().map(|(taken, faults)| {
                json!({
                    "records": taken.records, "seconds": taken.seconds, "second_half_seconds": taken.second_half,
                    "wall_seconds": taken.wall, "cpu_seconds": taken.cpu, "peak_mb": taken.peak_mb,
                    "steal": taken.steal, "faults": faults,
                })
            });
            json!({
                "program": row.program.to_string(), "records_per_second": row.rate(),
                "of_limit_per_core": of_limit(rows, row), "of_timely": of_timely(rows, row),
                "runs": runs.collect::<Vec<_>>(), "failures": row.failures,
            })
        })
        .collect()
}

/// Returns a rate with a unit.
fn short(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.2} M", rate / 1e6) } else { format!("{:.1} k", rate / 1e3) }
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(String::new, |part| format!("{:.0} %", part * 100.0))
}

/// Returns the beginning of a text, on one line.
fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    line.chars().take(160).collect()
}
