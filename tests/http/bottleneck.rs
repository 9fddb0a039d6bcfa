//! Planted bottlenecks: the cause line of a live job names the right operator, each time that it is asked, and who
//! waits for it; and none in a job that keeps up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use testkit::free_address;
use tests::model::Computed;
use tidemill::job::JobSetup;
use tidemill::prelude::*;

use super::client::get;

/// Number of seconds in which the same operator has to be named.
const LOOKS: usize = 4;

/// Works as slowly as a slow database does.
#[expect(clippy::disallowed_methods, reason = "the slowness is real time")]
fn work(time: Duration) {
    std::thread::sleep(time);
}

const SLOW: Duration = Duration::from_millis(1);
/// A link of a chain.
const SHORT: Duration = Duration::from_micros(10);

fn numbers() -> Generator<u64> {
    Generator::new(u64::MAX, |n| (EventTime(n as i64), n)).rate(None)
}

/// Runs a job, and looks at its cause line once in each second of it until `looks` have been seen that `count`.
fn watch(
    workers: usize,
    build: impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    looks: usize,
    count: impl Fn(&Json) -> bool,
) -> Vec<Json> {
    watch_with(JobSettings { workers, max_in_flight: 1000, ..JobSettings::default() }, build, looks, count)
}

fn watch_with(
    settings: JobSettings,
    build: impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    looks: usize,
    count: impl Fn(&Json) -> bool,
) -> Vec<Json> {
    let address = free_address();
    let settings = JobSettings { http: Some(address), ..settings };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let job = std::thread::spawn(move || Job::new("planted", setup).run(build));
    let (mut causes, mut last) = (Vec::new(), Json::Null);
    while causes.len() < looks {
        assert!(!job.is_finished(), "{:?}", job.join());
        work(Duration::from_millis(100));
        if let Some((row, cause)) = look(address)
            && row != last
            && count(&cause)
        {
            last = row;
            causes.push(cause);
        }
    }
    stop.store(true, Ordering::Relaxed);
    job.join().unwrap().unwrap();
    causes
}

/// Returns the time of the last look of the job at itself, and the cause that it has found, with the records that wait
/// there; nothing before the first.
fn look(address: SocketAddr) -> Option<(Json, Json)> {
    std::net::TcpStream::connect(address).ok()?;
    let mut cause = get(address, "/api/v1/job").json()["cause"].clone();
    if cause["operator"].is_string() {
        let operators = get(address, "/api/v1/operators").json();
        let found = operators["operators"].as_array()?.iter().find(|one| one["name"] == cause["operator"])?;
        cause["queue"] = found["queue"].clone();
    }
    let history = get(address, "/api/v1/history").json();
    Some((history["rows"].as_array()?.last()?[0].clone(), cause))
}

/// Runs a job until it has named a bottleneck in some seconds, which is `operator` each time. Returns the last line.
fn bottleneck(
    operator: &str,
    workers: usize,
    build: impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
) -> Json {
    let causes = watch(workers, build, LOOKS, |cause| !cause.is_null());
    println!("{}", causes.iter().map(|cause| format!("{}\n", cause["sentence"])).collect::<String>());
    assert!(causes.iter().all(|cause| cause["operator"] == operator), "{causes:#?}");
    let queues: Vec<_> = causes.iter().map(|cause| cause["queue"].as_i64()).collect();
    let can_wait = queues.iter().any(Option::is_some);
    assert!(!can_wait || queues.iter().any(|queue| *queue > Some(0)), "nothing waits at the bottleneck: {queues:?}");
    let last = causes.last().unwrap().clone();
    let start = format!("`{operator}` is the bottleneck (busy ");
    assert!(last["sentence"].as_str().unwrap().starts_with(&start), "{last}");
    last
}

features! {
    struct Number { n }
}

fn slow_model(workers: usize, pool: Option<PoolSettings>) -> Json {
    let settings =
        InferSettings { max_batch_size: BatchSize::Fixed(16.try_into().unwrap()), pool, ..InferSettings::default() };
    let slow = Computed::new("slow", 1, |rows| {
        work(SLOW * u32::try_from(rows).unwrap());
        Ok(vec![0.5; rows])
    });
    bottleneck("score", workers, move |flow| scored(flow, &slow, &settings))
}

/// As many numbers as are taken, scored.
fn scored(flow: &Flow<'_>, model: &Computed, settings: &InferSettings) -> Result<(), JobError> {
    let numbers = Generator::new(u64::MAX, |n| (EventTime(n as i64), Number { n: n as f64 })).rate(None);
    flow.source("numbers", &numbers)?
        .infer("score", model, settings, |number| number)?
        .sink("scores", &NullSink::default())
}

#[test]
fn a_slow_model_on_the_worker() {
    slow_model(1, None);
}

#[test]
fn a_slow_model_on_threads_of_its_own() {
    let cause = slow_model(2, Some(PoolSettings { threads: 1.try_into().unwrap(), ..PoolSettings::default() }));
    assert_eq!(cause["waiting"], json!(["numbers"]), "{cause}");
}

#[test]
fn a_slow_sink_is_the_bottleneck_and_the_source_waits_for_it() {
    let cause = bottleneck("slow", 1, |flow| flow.source("numbers", &numbers())?.for_each("slow", |_| work(SLOW)));
    assert_eq!(cause["waiting"], json!(["numbers"]), "{cause}");
}

/// Works for each record of a key, and hands it on.
struct Work;

impl KeyedLogic for Work {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, u64, ()>, record: Record<u64>) -> Result<(), LogicError> {
        work(SLOW);
        ctx.emit(record.data);
        Ok(())
    }
}

/// Most records have one key.
fn skewed(flow: &Flow<'_>) -> Result<(), JobError> {
    let numbers = flow.source("numbers", &numbers())?;
    let hot = numbers.key_by(|n| if n % 20 == 0 { n % 1000 } else { 7 });
    hot.process("count", Order::Arrival, |_| Ok(Work))?.results.sink("counts", &NullSink::default())
}

/// Returns whether a cause line says that one of two workers has nearly all of the work.
fn is_of_one_worker(cause: &Json) -> bool {
    cause["sentence"].as_str().is_some_and(|line| line.contains(" % on worker ") && line.contains(" % on the other)"))
}

#[test]
fn a_skewed_key_fills_one_worker_of_two() {
    let cause = bottleneck("count", 2, skewed);
    assert_eq!(cause["waiting"], json!(["numbers"]), "{cause}");
    assert!(is_of_one_worker(&cause), "{cause}");
}

/// Each process looks at the workers of both: the one that is full may be the other's.
#[test]
fn a_skewed_key_fills_one_process_of_two_and_either_says_so() {
    let hosts = [free_address(), free_address()].map(|host| host.to_string());
    let (pages, stop) = ([free_address(), free_address()], Arc::new(AtomicBool::new(false)));
    let start = |process: usize| {
        let (http, hosts) = (Some(pages[process]), hosts.to_vec());
        let settings = JobSettings { http, hosts, process, max_in_flight: 1000, ..JobSettings::default() };
        let asked = Arc::clone(&stop);
        let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
        std::thread::spawn(move || Job::new("planted", setup).run(skewed))
    };
    let jobs = [start(0), start(1)];
    for page in pages {
        loop {
            assert!(!jobs.iter().any(|job| job.is_finished()), "a process has ended");
            work(Duration::from_millis(100));
            if std::net::TcpStream::connect(page).is_err() {
                continue;
            }
            let cause = &get(page, "/api/v1/cluster").json()["job"]["cause"];
            if cause["operator"] == "count" && is_of_one_worker(cause) {
                println!("{}", cause["sentence"]);
                break;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    jobs.into_iter().for_each(|job| drop(job.join().unwrap().unwrap()));
}

#[test]
fn a_slow_source() {
    let slow = |n: u64| {
        work(SLOW);
        (EventTime(n as i64), n)
    };
    let cause = bottleneck("numbers", 1, move |flow| {
        let numbers = flow.source("numbers", &Generator::new(u64::MAX, slow).rate(None))?;
        numbers.map(|n| n + 1).sink("out", &NullSink::default())
    });
    assert_eq!(cause["waiting"], json!([]), "{cause}");
    assert!(cause["sentence"].as_str().unwrap().ends_with("; nothing holds it back"), "{cause}");
}

#[test]
fn a_slow_map_on_the_worker_of_its_source() {
    bottleneck("map 1", 1, |flow| {
        let slow = flow.source("numbers", &numbers())?.map(|n| {
            work(SLOW);
            n
        });
        slow.sink("out", &NullSink::default())
    });
}

/// No link has half of the worker.
#[test]
fn the_longest_link_of_a_chain_that_one_worker_has() {
    let short = |n: u64| {
        work(SHORT);
        n
    };
    let cause = bottleneck("map 2", 1, move |flow| {
        let chain = flow.source("numbers", &numbers())?.map(short);
        let longest = chain.map(move |n| short(short(n)));
        longest.map(short).map(short).map(short).sink("out", &NullSink::default())
    });
    assert!(cause["sentence"].as_str().unwrap().contains("worker"), "{cause}");
}

#[test]
fn a_job_that_keeps_up_has_none() {
    let build = |flow: &Flow<'_>| {
        let numbers = flow.source("numbers", &numbers().rate(200.0))?.key_by(|n| n % 10);
        numbers.process("count", Order::Arrival, |_| Ok(Work))?.results.sink("counts", &NullSink::default())
    };
    let causes = watch(2, build, 2 * LOOKS, |_| true);
    assert!(causes.iter().all(Json::is_null), "{causes:#?}");
}

/// A model that takes its time, and threads that mostly wait for work: a source reads some hundred records at a time, which
/// are a few batches.
#[test]
fn a_limit_of_records_in_flight_that_is_too_low() {
    let patient = Computed::new("patient", 1, |rows| {
        #[expect(clippy::disallowed_methods, reason = "the model takes its time")]
        std::thread::sleep(Duration::from_millis(20));
        Ok(vec![0.5; rows])
    });
    let pool = PoolSettings { threads: 16.try_into().unwrap(), ..PoolSettings::default() };
    let size = BatchSize::Fixed(128.try_into().unwrap());
    let infer = InferSettings { max_batch_size: size, pool: Some(pool), ..InferSettings::default() };
    let settings = JobSettings { max_in_flight: 4, ..JobSettings::default() };
    let build = move |flow: &Flow<'_>| scored(flow, &patient, &infer);
    let causes = watch_with(settings, build, LOOKS, |cause| !cause.is_null());
    for cause in &causes {
        assert!(cause["operator"].is_null() && cause["waiting"] == json!(["numbers"]), "{cause}");
        let sentence = cause["sentence"].as_str().unwrap();
        assert!(sentence.contains("no operator is busy") && sentence.contains("`max_in_flight` is 4"), "{sentence}");
    }
}
