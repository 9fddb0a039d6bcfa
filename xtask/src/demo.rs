//! A demo of the main job with embedded defaults: it is watched, killed and restored, and its output is counted.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ratatui::layout::Constraint;
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame, TerminalOptions, Viewport};
use serde_json::Value;
use testkit::free_address;

use crate::{cargo, check, example, scratch, setup};

const REFRESH: Duration = Duration::from_millis(200);
const HEIGHT: u16 = 20;

#[derive(clap::Args)]
pub struct Args {
    /// Another demo than that of a job which is killed.
    pub other: Option<Other>,
    /// Transactions to score.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    count: u64,
    /// Transactions a second.
    #[arg(long, default_value_t = 50_000, value_name = "PER_SECOND")]
    rate: u64,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Another demo.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Other {
    /// Models that change while the job runs: one rolls itself back, one is promoted.
    Models,
}

pub fn run(args: &Args) -> Result<()> {
    setup::run()?;
    println!("building the job");
    let job = ["--package", "programs", "--example", "fraud_velocity", "--features", "tables"];
    check(cargo().args(["build", "--release"]).args(job))?;
    let folder = scratch("demo")?;
    let mut screen = Screen::open();
    let outcome = act(args, &folder, &mut screen);
    screen.close();
    let (restored_at, took) = outcome?;
    println!(
        "killed with SIGKILL half way; restored from the checkpoint of epoch {restored_at}; {:.1} s in all",
        took.as_secs_f64()
    );
    prove(args.count, &folder)
}

/// Runs the job half way, kills it, and runs it to its end. Returns the epoch that it was restored from.
fn act(args: &Args, folder: &Path, screen: &mut Screen) -> Result<(u64, Duration)> {
    let started = Instant::now();
    let mut job = RunningJob::start(args, folder)?;
    screen.say(&format!("page of the job: http://{}/", job.address));
    let mut view = View::new(args);
    view.phase = "running".to_owned();
    while view.done() < args.count / 2 {
        if let Some(status) = job.child.try_wait()? {
            bail!("the job ended early: {status}\n{}", job.errors());
        }
        view.look(&job, folder);
        screen.show(&view);
        pause();
    }
    job.child.kill()?;
    job.child.wait()?;
    screen.say(&format!("half way: killed with SIGKILL (process {}); starting it again", job.child.id()));
    view.killed();
    let mut job = RunningJob::start(args, folder)?;
    screen.say(&format!("page of the job: http://{}/", job.address));
    let mut restored = None;
    loop {
        view.look(&job, folder);
        restored = restored.or_else(|| view.status["restored_epoch"].as_u64());
        if let Some(epoch) = restored {
            view.phase = format!("restored from epoch {epoch}");
        }
        screen.show(&view);
        if let Some(status) = job.child.try_wait()? {
            if !status.success() {
                bail!("the job failed: {status}\n{}", job.errors());
            }
            let epoch = restored.context("the job ended before it said what it was restored from")?;
            return Ok((epoch, started.elapsed()));
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a person watches")]
fn pause() {
    std::thread::sleep(REFRESH);
}

/// Counts the predictions in the folder, and checks that there is exactly one for each transaction.
fn prove(count: u64, folder: &Path) -> Result<()> {
    let (mut seen, mut lines) = (HashSet::new(), 0u64);
    for part in parts(&folder.join("predictions"))? {
        for line in BufReader::new(fs::File::open(part)?).lines() {
            let value: Value = serde_json::from_str(&line?)?;
            seen.insert(value["tx_id"].as_u64().context("a prediction has no tx_id")?);
            lines += 1;
        }
    }
    let (twice, missing) = (lines - seen.len() as u64, (0..count).filter(|id| !seen.contains(id)).count());
    println!("{count} transactions, {lines} predictions: {missing} missing, {twice} twice");
    println!("look at them: {}", folder.join("alerts").display());
    println!("and at the terminals with the most frauds: {}", folder.join("riskiest").display());
    if missing > 0 || twice > 0 {
        bail!("not every transaction was scored exactly once");
    }
    println!("every transaction was scored exactly once");
    Ok(())
}

pub fn parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut parts: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    parts.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    parts.sort();
    Ok(parts)
}

struct RunningJob {
    child: Child,
    address: String,
    log: PathBuf,
}

impl RunningJob {
    fn start(args: &Args, folder: &Path) -> Result<Self> {
        let address = free_address().to_string();
        let log = folder.join("job.log");
        let mut command = example("fraud_velocity")?;
        command.args(["--count", &args.count.to_string(), "--rate", &args.rate.to_string()]);
        command.args(["--workers", &args.workers.to_string(), "--http", &address]);
        for (flag, name) in [
            ("--checkpoint-dir", "checkpoints"),
            ("--predictions", "predictions"),
            ("--alerts", "alerts"),
            ("--riskiest", "riskiest"),
        ] {
            command.arg(flag).arg(folder.join(name));
        }
        let errors = fs::File::options().create(true).append(true).open(&log)?;
        let child = command.stdout(Stdio::null()).stderr(errors).spawn().context("cannot start fraud_velocity")?;
        Ok(Self { child, address, log })
    }

    fn errors(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn status(&self) -> Option<Value> {
        let agent = ureq::Agent::config_builder().timeout_global(Some(REFRESH)).build().new_agent();
        let text =
            agent.get(format!("http://{}/status", self.address)).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The numbers that are shown.
struct View {
    count: u64,
    phase: String,
    status: Value,
    /// Number of transactions scored by this incarnation.
    scored: u64,
    /// Number of transactions scored up to the checkpoint that this incarnation was restored from.
    before: u64,
    last: Option<(Instant, u64)>,
    rates: VecDeque<u64>,
    alerts: VecDeque<String>,
    newest_part: Option<PathBuf>,
}

impl View {
    fn new(args: &Args) -> Self {
        Self {
            count: args.count,
            phase: "starting".to_owned(),
            status: Value::Null,
            scored: 0,
            before: 0,
            last: None,
            rates: VecDeque::new(),
            alerts: VecDeque::new(),
            newest_part: None,
        }
    }

    fn done(&self) -> u64 {
        self.before + self.scored
    }

    fn killed(&mut self) {
        self.before = self.done();
        self.scored = 0;
        self.last = None;
        self.phase = "restoring".to_owned();
        self.status = Value::Null;
    }

    fn operator(&self, name: &str) -> &Value {
        let operators = self.status["operators"].as_array().into_iter().flatten();
        operators.into_iter().find(|operator| operator["name"] == name).unwrap_or(&Value::Null)
    }

    /// Updates the numbers from the job's present status.
    fn look(&mut self, job: &RunningJob, folder: &Path) {
        let Some(status) = job.status() else { return };
        self.status = status;
        self.scored = self.operator("score")["counters"]["records_out"].as_u64().unwrap_or(0);
        let now = Instant::now();
        if let Some((then, before)) = self.last {
            let rate = self.scored.saturating_sub(before) as f64 / (now - then).as_secs_f64();
            self.rates.push_back(rate as u64);
        }
        self.last = Some((now, self.scored));
        while self.rates.len() > 100 {
            self.rates.pop_front();
        }
        self.look_at_alerts(&folder.join("alerts"));
    }

    fn look_at_alerts(&mut self, folder: &Path) {
        let Some(newest) = parts(folder).ok().and_then(|mut parts| parts.pop()) else { return };
        if self.newest_part.as_ref() == Some(&newest) {
            return;
        }
        let text = fs::read_to_string(&newest).unwrap_or_default();
        for line in text.lines().rev().take(4).collect::<Vec<_>>().into_iter().rev() {
            let Ok(alert) = serde_json::from_str::<Value>(line) else { continue };
            let features = &alert["features"];
            self.alerts.push_back(format!(
                "tx {:>8}  card {:>5}  score {:.3}  amount {:>8.2}  card 1d: {:>2} at {:>7.2}  terminal risk 7d: {:.2}",
                alert["tx_id"],
                alert["card_id"],
                alert["score"].as_f64().unwrap_or(0.0),
                features["amount"].as_f64().unwrap_or(0.0),
                features["card_count_1d"].as_f64().unwrap_or(0.0),
                features["card_mean_1d"].as_f64().unwrap_or(0.0),
                features["terminal_risk_7d"].as_f64().unwrap_or(0.0),
            ));
        }
        while self.alerts.len() > 4 {
            self.alerts.pop_front();
        }
        self.newest_part = Some(newest);
    }

    fn rate(&self) -> u64 {
        let last: Vec<u64> = self.rates.iter().rev().take(5).copied().collect();
        if last.is_empty() { 0 } else { last.iter().sum::<u64>() / last.len() as u64 }
    }

    /// Returns the name and the value of each number.
    fn numbers(&self) -> Vec<(&'static str, String)> {
        let ms = |value: &Value| value.as_f64().map_or("–".to_owned(), |us| format!("{:.2} ms", us / 1000.0));
        let latency = &self.operator("predictions")["distributions"]["latency_us"];
        let visible = &self.operator("predictions")["distributions"]["visible_latency_us"];
        let batch = &self.operator("score")["distributions"]["batch_size_records"];
        let checkpoint = &self.status["checkpoint_us"];
        let time = |name: &str| self.operator(name)["watermark_ms"].as_i64();
        let lag =
            time("transactions").zip(time("card-velocity")).map_or("–".to_owned(), |(a, b)| format!("{} ms", a - b));
        vec![
            ("phase", self.phase.clone()),
            ("scored", format!("{} of {}", self.done().min(self.count), self.count)),
            ("throughput", format!("{} tx/s", self.rate())),
            ("latency, arrival to prediction", format!("p50 {}, p99 {}", ms(&latency["p50"]), ms(&latency["p99"]))),
            ("latency, arrival to published", format!("p50 {}, p99 {}", ms(&visible["p50"]), ms(&visible["p99"]))),
            ("watermark lag, event time", lag),
            (
                "checkpoints",
                format!(
                    "epoch {} committed, p50 {}, p99 {}",
                    self.status["committed_epoch"],
                    ms(&checkpoint["p50"]),
                    ms(&checkpoint["p99"])
                ),
            ),
            ("batch size", format!("p50 {}, p99 {}", batch["p50"], batch["p99"])),
        ]
    }
}

/// The screen: a terminal, or plain lines where there is no terminal.
enum Screen {
    Terminal(Box<DefaultTerminal>),
    Lines(Option<Instant>),
}

impl Screen {
    fn open() -> Self {
        if std::io::stdout().is_terminal() {
            let terminal = ratatui::try_init_with_options(TerminalOptions { viewport: Viewport::Inline(HEIGHT) });
            if let Ok(terminal) = terminal {
                // Raw mode is turned off, so that Ctrl-C ends the demo as usual.
                drop(ratatui::crossterm::terminal::disable_raw_mode());
                return Self::Terminal(Box::new(terminal));
            }
        }
        Self::Lines(None)
    }

    fn say(&mut self, what: &str) {
        match self {
            Self::Terminal(terminal) => {
                let line = Line::from(what.to_owned()).bold();
                let inserted = terminal.insert_before(1, |buffer| {
                    buffer.set_line(0, 0, &line, buffer.area.width);
                });
                drop(inserted);
            }
            Self::Lines(_) => println!("{what}"),
        }
    }

    fn show(&mut self, view: &View) {
        match self {
            Self::Terminal(terminal) => drop(terminal.draw(|frame| draw(frame, view))),
            Self::Lines(last) => {
                if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(2)) {
                    *last = Some(Instant::now());
                    let numbers = view.numbers().into_iter().map(|(name, value)| format!("{name}: {value}"));
                    println!("{}", numbers.collect::<Vec<_>>().join(" | "));
                    view.alerts.back().into_iter().for_each(|alert| println!("  last alert: {alert}"));
                }
            }
        }
    }

    fn close(&mut self) {
        if let Self::Terminal(terminal) = self {
            // Later output goes below the picture, not over it.
            let last_row = terminal.get_frame().area().bottom().saturating_sub(1);
            drop(terminal.set_cursor_position((0, last_row)));
            ratatui::restore();
            println!();
        }
    }
}

fn draw(frame: &mut Frame<'_>, view: &View) {
    let [numbers, rates, alerts] =
        ratatui::layout::Layout::vertical([Constraint::Length(10), Constraint::Length(4), Constraint::Min(6)])
            .areas(frame.area());
    let rows = view.numbers().into_iter().map(|(name, value)| Row::new([Line::from(name).dim(), Line::from(value)]));
    let table = Table::new(rows, [Constraint::Length(32), Constraint::Min(40)]);
    frame.render_widget(table.block(Block::bordered().title(" fraud_velocity ")), numbers);
    let width = usize::from(rates.width.saturating_sub(2));
    let shown: Vec<u64> = view.rates.iter().rev().take(width).rev().copied().collect();
    let sparkline = Sparkline::default().data(&shown).style(Style::new().cyan());
    frame.render_widget(sparkline.block(Block::bordered().title(" transactions a second ")), rates);
    let lines: Vec<Line<'_>> = view.alerts.iter().map(|alert| Line::from(alert.as_str()).red()).collect();
    frame.render_widget(Paragraph::new(Text::from(lines)).block(Block::bordered().title(" last alerts ")), alerts);
}
