//! A job of scored payments, of which one version sees what it was trained on, one sees something else, and one has no
//! baseline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use testkit::free_address;
use tidemill::drift::{Baseline, Baselines, Categories, Category, Distribution, DriftExt, DriftSettings, Reference};
use tidemill::infer::{ModelInfo, ModelRole};
use tidemill::job::JobSetup;
use tidemill::prelude::*;

features! {
    pub struct Seen { amount, age or NaN, is_night, country: text }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    version: u64,
    score: f32,
    seen: Seen,
}

/// The version that is steady, the one that drifts, and the one without a baseline, as they are named.
pub const VERSIONS: [&str; 3] =
    ["payments/1@0123456789abcdef", "payments/2@0123456789abcdef", "payments/3@0123456789abcdef"];

/// A running job. It stops when this is dropped.
pub struct Drifting {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    job: Option<JoinHandle<Result<Snapshot, JobError>>>,
}

impl Drifting {
    /// Starts the job. Its payments do not end while a test runs, and a window ends about every half second.
    pub fn start() -> Self {
        let (address, stop) = (free_address(), Arc::new(AtomicBool::new(false)));
        let settings = JobSettings { http: Some(address), workers: 2, ..JobSettings::default() };
        let asked = Arc::clone(&stop);
        let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
        let job = std::thread::spawn(move || Job::new("drifting", setup).run(build));
        Self { address, stop, job: Some(job) }
    }

    /// Returns whether the job serves HTTP.
    ///
    /// # Panics
    /// When the job has ended.
    #[must_use]
    pub fn listens(&self) -> bool {
        assert!(self.job.as_ref().is_some_and(|job| !job.is_finished()), "the job has ended");
        std::net::TcpStream::connect(self.address).is_ok()
    }
}

impl Drop for Drifting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(result) = self.job.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            result.unwrap().unwrap();
        }
    }
}

fn build(flow: &Flow<'_>) -> Result<(), JobError> {
    let made = |id: u64| (EventTime(id as i64), payment(id));
    let payments = flow.source("payments", &Generator::new(u64::MAX, made).rate(12_000.0))?;
    let scored = payments.map(|payment: Payment| Scored {
        score: payment.score,
        origin: ScoreOrigin::Model,
        model: Some(Arc::new(info(payment.version))),
        role: ModelRole::Primary,
        record: payment,
    });
    let settings = DriftSettings { window: secs(6), ..DriftSettings::default() };
    let found = scored.drift("drift", &Baselines::found_by(baseline), &settings, |payment: &Payment| &payment.seen)?;
    found.records.sink("records", &NullSink::default())?;
    found.reports.sink("reports", &NullSink::default())
}

fn info(version: u64) -> ModelInfo {
    ModelInfo { version: Some(version), ..ModelInfo::new("payments", "0123456789abcdef") }
}

/// Returns a number from 0 to 1 that looks like chance.
fn even(id: u64, of: u64) -> f64 {
    let mixed = (id ^ of << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / (1u64 << 53) as f64
}

fn amount(id: u64) -> f64 {
    // A few are large.
    -40.0 * (1.0 - even(id, 1)).ln()
}

fn age(id: u64) -> Option<f64> {
    (even(id, 2) > 0.02).then(|| 18.0 + 40.0 * (even(id, 3) + even(id, 4)))
}

fn country(id: u64) -> &'static str {
    let names = ["Germany", "France", "Italy", "Spain", "Poland", "the Netherlands"];
    names[(even(id, 5).powi(2) * 6.0) as usize % 6]
}

fn is_night(id: u64) -> f64 {
    f64::from(even(id, 6) < 0.2)
}

/// Of version 2, amounts are larger, ages are missing, and countries have other names.
fn payment(id: u64) -> Payment {
    let version = id % 3 + 1;
    let drifts = version == 2;
    let seen = Seen {
        amount: if drifts { amount(id) * 1.5 + 30.0 } else { amount(id) },
        age: age(id).filter(|_| !drifts || even(id, 7) < 0.7),
        is_night: is_night(id),
        country: Some(if drifts && even(id, 8) < 0.3 { "Deutschland" } else { country(id) }.to_owned()),
    };
    Payment { version, score: (even(id, 9) * even(id, 10)) as f32, seen }
}

fn baseline(of: &ModelInfo) -> Result<Baseline, String> {
    if *of == info(3) {
        return Err("it has none".to_owned());
    }
    // Others than those of the job.
    let ids = || 1 << 60..(1 << 60) + 10_000_u64;
    let numbers = |value: &dyn Fn(u64) -> Option<f64>| {
        let mut all = Distribution::default();
        ids().for_each(|id| all.add(value(id)));
        all
    };
    let mut countries = Categories::default();
    ids().for_each(|id| countries.add(Some(Category::Unknown(country(id)))));
    let features = [
        ("amount", Reference::Numbers(numbers(&|id| Some(amount(id))))),
        ("age", Reference::Numbers(numbers(&age))),
        ("is_night", Reference::Numbers(numbers(&|id| Some(is_night(id))))),
        ("country", Reference::Categories(countries)),
    ];
    let scores = numbers(&|id| Some(even(id, 9) * even(id, 10)));
    let features = features.map(|(name, values)| (name.to_owned(), values)).into();
    Ok(Baseline { features, scores: Some(scores), ..Baseline::default() })
}
