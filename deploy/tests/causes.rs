//! Programs with what they need to go wrong.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{StatusCode, Uri};
use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tests::model::Computed;
use tidemill::error::ConnectorError;
use tidemill::infer::server::{ServedModel, ServerSettings};
use tidemill::infer::{ModelSource, RunError};
use tidemill::kafka::{self, Connection, Delivery, Topics};
use tidemill::prelude::*;
use tidemill::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill::time::Epoch;

use crate::running::{INPUT, Running};

/// Records a second of jobs that are not asked for more.
const RATE: f64 = 200.0;

/// The event time of now.
#[expect(clippy::disallowed_methods, reason = "the watermarks of these jobs are compared with Prometheus' clock")]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A source of numbers whose event times are those at which they are read.
fn ticks(rate: Option<f64>) -> Generator<u64> {
    Generator::new(u64::MAX, |n| (EventTime(now()), n)).rate(rate)
}

/// Appends a line to the input of a job.
pub fn append(running: &Running, line: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(running.file(INPUT)).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn settings() -> JobSettings {
    JobSettings::default()
}

/// Nothing happens to this one. It has what most programs have, so that it serves most metrics.
pub fn well() -> Running {
    let settings = JobSettings { state_memory: Some(1 << 30), max_ahead: Some(days(1)), ..settings() };
    Running::start("well", settings, |flow, _| {
        let rows = |keys: &[u64]| Ok::<_, std::fmt::Error>(keys.iter().map(|key| Some(key + 1)).collect());
        flow.source("ticks", &ticks(Some(RATE)))?
            .infer("score", &constant(None), &InferSettings::default(), |_| &Nothing { zero: 0.0 })?
            .map(|scored| scored.record)
            .key_by(|n| n % 7)
            .window("seconds", Assigner::tumbling(secs(1)))
            .aggregate(counting())?
            .results
            .map(|window| window.value)
            .key_by(|count| *count)
            .process("noted", Order::Arrival, |_| Ok(Noted))?
            .results
            .lookup_join("names", &LookupSettings::default(), |count: &u64| *count, rows)?
            .map(|(count, _)| count)
            .sink("out", &Outlet::default())
    })
}

/// Counts what passes through it.
struct Noted;

impl KeyedLogic for Noted {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, u64, ()>, record: Record<u64>) -> Result<(), LogicError> {
        ctx.counter("noted").add(1);
        ctx.emit(record.data);
        Ok(())
    }
}

/// One of its two sources is silent, and never taken for idle. It reads lines.
pub fn stalled() -> Running {
    Running::start("stalled", settings(), |flow, folder| {
        let path = folder.join(INPUT);
        let silent = FileSource::new([path], |n: &u64| EventTime(*n as i64)).follow().idle_after(days(1));
        flow.source("ticks", &ticks(Some(RATE)))?
            .union(flow.source("silent", &silent)?)
            .key_by(|n| n % 7)
            .window("seconds", Assigner::tumbling(secs(1)))
            .aggregate(counting())?
            .results
            .sink("out", &NullSink::default())
    })
}

/// Reads lines, of which some are no numbers.
pub fn letters() -> Running {
    Running::start("letters", settings(), |flow, folder| {
        let path = folder.join(INPUT);
        let numbers = FileSource::new([path], |n: &u64| EventTime(*n as i64)).follow();
        flow.source("numbers", &numbers.max_malformed(MaxMalformed::unlimited()))?.sink("out", &NullSink::default())
    })
}

/// Its model answers each batch with an error once the switch is on.
pub fn models(broken: &Switch) -> Running {
    let broken = broken.clone();
    Running::start("models", settings(), move |flow, _| {
        let settings = InferSettings { default_score: Some(0.5), ..InferSettings::default() };
        let model = constant(Some(broken.clone()));
        flow.source("ticks", &ticks(Some(RATE)))?
            .infer("score", &model, &settings, |_| &Nothing { zero: 0.0 })?
            .sink("out", &NullSink::default())
    })
}

/// A source as fast as it can be before a sink that takes a record a millisecond.
pub fn slow() -> Running {
    let settings = JobSettings { max_in_flight: 1000, ..settings() };
    Running::start("slow", settings, |flow, _| {
        flow.source("ticks", &ticks(None))?.sink("out", &Outlet { slow: true, stuck: Switch::default() })
    })
}

/// Its sink does not get rid of its output while the switch is on.
pub fn stuck(switch: &Switch) -> Running {
    let stuck = switch.clone();
    Running::start("stuck", settings(), move |flow, _| {
        flow.source("ticks", &ticks(Some(RATE)))?.sink("out", &Outlet { slow: false, stuck: stuck.clone() })
    })
}

/// Keeps state, so that it writes checkpoints.
pub fn keeps_state(name: &'static str) -> Running {
    Running::start(name, settings(), |flow, _: &PathBuf| {
        flow.source("ticks", &ticks(Some(RATE)))?
            .key_by(|n| n % 7)
            .window("days", Assigner::tumbling(days(1)))
            .aggregate(counting())?
            .results
            .sink("out", &NullSink::default())
    })
}

/// The name of a reference file, and a good version of it.
pub const REFERENCE: (&str, &str) = ("terminals.csv", "id,city\n7,Graz\n8,Wien\n");

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Terminal {
    id: u32,
    city: String,
}

/// Reads a reference file.
pub fn reference() -> Running {
    Running::start("reference", settings(), |flow, folder| {
        let path = folder.join(REFERENCE.0);
        if !path.exists() {
            std::fs::write(&path, REFERENCE.1).unwrap();
        }
        let file = ReferenceFile::new(&path, |terminal: &Terminal| terminal.id).reload_every(millis(200));
        flow.source("ticks", &ticks(Some(RATE)))?.sink("out", &NullSink::default())?;
        flow.reference("terminals", &file)?.sink("rows", &NullSink::default())
    })
}

/// Writes to a topic, and reads it.
pub fn topics(kafka: &MockCluster<'_, DefaultProducerContext>) -> Running {
    kafka.create_topic("ticks", 2, 1).unwrap();
    let cluster = Connection::new(kafka.bootstrap_servers());
    Running::start("topics", settings(), move |flow, _| {
        let sink = KafkaSink::json(cluster.clone(), "ticks", Delivery::AtLeastOnce, |n: &u64| n.to_le_bytes().to_vec());
        let topic = Topics::named("ticks");
        let source = KafkaSource::new(cluster.clone(), topic, kafka::json(), |n: &u64| EventTime(*n as i64));
        flow.source("ticks", &ticks(Some(RATE)))?.sink("written", &sink)?;
        flow.source("read", &source)?.sink("out", &NullSink::default())
    })
}

/// Its model is on a server, which answers with errors while the switch is on.
pub fn served(broken: &Switch) -> Running {
    let url = format!("tfs+http://{}/constant", model_server(broken.clone()));
    let like = constant(None);
    let (inputs, outputs) = (like.inputs().to_vec(), like.outputs().to_vec());
    let model = Models::of(ServedModel::connect(&url, inputs, outputs, &ServerSettings::default()).unwrap());
    Running::start("served", settings(), move |flow, _| {
        let settings = InferSettings { default_score: Some(0.5), ..InferSettings::default() };
        flow.source("ticks", &ticks(Some(RATE)))?
            .infer("score", &model, &settings, |_| &Nothing { zero: 0.0 })?
            .sink("out", &NullSink::default())
    })
}

/// Starts what speaks TensorFlow Serving's REST API, as far as it is asked here. It runs as long as the test.
fn model_server(broken: Switch) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |uri: Uri, body: Bytes| async move {
        if broken.is_on() {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if uri.path().ends_with(":predict") {
            let body: Json = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
            let rows = body["instances"].as_array().map_or(0, Vec::len);
            return Ok(axum::Json(json!({"predictions": vec![1.0; rows]})));
        }
        let status = json!({"model_version_status": [{"state": "AVAILABLE"}]});
        if uri.path().ends_with("/metadata") { Err(StatusCode::NOT_FOUND) } else { Ok(axum::Json(status)) }
    };
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
        });
    };
    drop(std::thread::spawn(serve));
    address
}

/// What tests turn on and off while jobs run.
#[derive(Clone, Default)]
pub struct Switch(Arc<(Mutex<bool>, Condvar)>);

impl Switch {
    pub fn set(&self, on: bool) {
        *self.0.0.lock().unwrap() = on;
        self.0.1.notify_all();
    }

    fn is_on(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    fn wait_while_on(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |on| *on).unwrap());
    }
}

features! {
    /// What the model is asked with.
    pub struct Nothing { zero }
}

/// A model that scores everything alike, or fails while the switch is on.
fn constant(broken: Option<Switch>) -> Computed {
    Computed::new("constant", 1, move |rows| match &broken {
        Some(broken) if broken.is_on() => Err(RunError::Unavailable("switched off".to_owned())),
        _ => Ok(vec![1.0; rows]),
    })
}

/// A sink that is slow, or gets stuck.
#[derive(Clone, Default)]
struct Outlet {
    slow: bool,
    stuck: Switch,
}

struct OutletWriter {
    outlet: Outlet,
    started: Instant,
    written: u128,
}

impl Sink for Outlet {
    type Item = u64;
    type Writer = OutletWriter;

    fn open(&self, context: SinkContext) -> Result<OutletWriter, ConnectorError> {
        context.metrics.gauge("depth").set(1);
        ["wait_us", "letters"].iter().for_each(|name| context.metrics.distribution(name).record(1));
        Ok(OutletWriter { outlet: self.clone(), started: Instant::now(), written: 0 })
    }

    fn recover(&self, _: &SinkContext, _: Vec<StagedToken>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl SinkWriter for OutletWriter {
    type Item = u64;

    fn ready(&mut self) -> bool {
        !self.outlet.slow || self.written < self.started.elapsed().as_millis()
    }

    fn write(&mut self, _: &Record<u64>) -> Result<(), ConnectorError> {
        self.written += 1;
        Ok(())
    }

    fn stage(&mut self, _: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let stuck = self.outlet.stuck.clone();
        let flush = move || {
            stuck.wait_while_on();
            Ok(())
        };
        Ok(Some(Staged { token: Vec::new(), flush: Box::new(flush), publish: Box::new(|| Ok(())) }))
    }
}
