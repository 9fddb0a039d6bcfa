//! A server that is killed, slowed down or silent while batches arrive: every batch is answered, and the server is
//! used again once it is back.

use std::time::{Duration, Instant};

use tidemill::infer::server::{Circuit, CircuitSettings, ServedModel, ServerErrors, ServerSettings};
use tidemill::infer::{Backend, ModelSource, RunError};

use crate::proxy::Proxy;
use crate::setting::{RankFeatures, WIDTH, expected, rows, same, score, server};
use testkit::model_server::{Kind, MODEL};
use tests::until;

fn hurried() -> ServerSettings {
    let open_for = Duration::from_millis(100);
    let circuit = CircuitSettings { open_for, max_open_for: Duration::from_millis(400), ..CircuitSettings::default() };
    // A broken connection must never look like an error of the server itself, which this setting attributes to the
    // batch.
    let server_errors = ServerErrors::Batch;
    ServerSettings { deadline: Duration::from_millis(500), circuit, server_errors, ..ServerSettings::default() }
}

struct Client {
    model: ServedModel,
    backend: Box<dyn Backend>,
    url: String,
    rows: Vec<f32>,
    expected: Vec<f32>,
    /// The time that each batch took.
    took: Vec<Duration>,
}

impl Client {
    fn new(url: String) -> Self {
        let model =
            ServedModel::scoring::<RankFeatures>(&url, "features", ("probabilities", 2, 1), &hurried()).unwrap();
        let rows = rows(32, 9);
        let (backend, expected) = (model.open().unwrap(), expected(&rows));
        Self { model, backend, url, rows, expected, took: Vec::new() }
    }

    /// Scores one batch. The scores are right, or the server is unavailable: returns which.
    fn is_scored(&mut self) -> bool {
        let started = Instant::now();
        let result = score(&mut *self.backend, &self.rows, self.model.outputs());
        self.took.push(started.elapsed());
        match result {
            Ok(found) => {
                same(&found, &self.expected, 1e-6, &self.url);
                true
            }
            Err(RunError::Unavailable(_)) => false,
            Err(other) => panic!("{}: the records are blamed: {other}", self.url),
        }
    }

    /// Scores batches until the circuit is open, and for a while after.
    fn fails(&mut self, what: &str) {
        let before = self.model.counts();
        until(&format!("the circuit opens ({what}, {})", self.url), || {
            self.is_scored();
            self.model.circuit() == Circuit::Open
        });
        for _ in 0..50 {
            assert!(!self.is_scored(), "{what}: {}", self.url);
        }
        let now = self.model.counts();
        assert!(now.kept_back > before.kept_back, "{what}: no call was spared: {now:?}");
    }

    fn recovers(&mut self, what: &str) {
        until(&format!("it is used again ({what}, {})", self.url), || self.is_scored());
        until(&format!("the circuit closes ({what}, {})", self.url), || {
            self.is_scored();
            self.model.circuit() == Circuit::Closed
        });
        for _ in 0..20 {
            self.is_scored();
        }
        assert_eq!(self.model.circuit(), Circuit::Closed, "{what}: {}", self.url);
        let mut took = std::mem::take(&mut self.took);
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!(
            "{what}, {}: {} batches of {} rows: p50 {:?}, p99 {:?}, max {:?}; {:?}",
            self.url,
            took.len(),
            self.rows.len() / WIDTH,
            at(0.5),
            at(0.99),
            at(1.0),
            self.model.counts()
        );
    }
}

#[test]
fn killed_slowed_silent_and_back() {
    let Some(mut running) = server(Kind::Triton) else { return };
    let (rest, grpc) = (Proxy::to(&running.server.rest), Proxy::to(&running.server.grpc));
    let urls = [format!("oip+grpc://{}/{MODEL}", grpc.address), format!("oip+http://{}/{MODEL}", rest.address)];
    let mut clients = urls.map(Client::new);
    let both = |fault: &dyn Fn(&Proxy)| [&rest, &grpc].into_iter().for_each(fault);
    for client in &mut clients {
        client.recovers("nothing happened");

        both(&|proxy| proxy.delay(Duration::from_secs(2)));
        client.fails("2 s a call");
        both(&|proxy| proxy.delay(Duration::ZERO));
        client.recovers("2 s a call");

        both(&|proxy| proxy.silent(true));
        client.fails("silent");
        both(&|proxy| proxy.silent(false));
        client.recovers("silent");

        both(&|proxy| proxy.gone(true));
        client.fails("gone");
        both(&|proxy| proxy.gone(false));
        client.recovers("gone");

        running.server.kill().unwrap();
        client.fails("killed");
        running.server.resume().unwrap();
        client.recovers("killed");
    }
}
