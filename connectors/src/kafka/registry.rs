//! The client of a schema registry (Confluent's REST interface). It fetches each schema once, by its id.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tidemill_engine::locks::{read, write};
use tidemill_engine::threads;
use tidemill_engine::{ConnectorError, ErrorKind};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::decode::NotDecoded;

/// The time limit of one request, during which a worker waits.
const ASK: Duration = Duration::from_secs(5);
/// The number of requests for a schema before the job stops.
const TRIES: u32 = 4;

/// A schema registry. Cheap to clone; clones share the schemas that were fetched.
#[derive(Clone)]
pub struct SchemaRegistry {
    url: String,
    authorization: Option<String>,
    agent: ureq::Agent,
    schemas: Arc<RwLock<HashMap<u32, Arc<apache_avro::Schema>>>>,
}

impl SchemaRegistry {
    /// Returns the registry at `url`, e.g. `http://127.0.0.1:8081`.
    pub fn new(url: impl Into<String>) -> Self {
        // TLS uses the system's OpenSSL and certificates, as the connections to brokers do.
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
        let config =
            ureq::Agent::config_builder().timeout_global(Some(ASK)).http_status_as_error(false).tls_config(tls);
        let url = url.into().trim_end_matches('/').to_owned();
        Self { url, authorization: None, agent: config.build().new_agent(), schemas: Arc::default() }
    }

    /// Sets the value of the `Authorization` header of requests: `Basic …`, `Bearer …`.
    #[must_use]
    pub fn authorization(mut self, value: impl Into<String>) -> Self {
        self.authorization = Some(value.into());
        self
    }

    /// Returns the Avro schema of this id.
    pub(super) fn avro(&self, id: u32) -> Result<Arc<apache_avro::Schema>, NotDecoded> {
        if let Some(schema) = read(&self.schemas).get(&id) {
            return Ok(Arc::clone(schema));
        }
        let text = self.fetch(id)?;
        let schema = apache_avro::Schema::parse_str(&text)
            .map_err(|e| NotDecoded::poison(format!("schema {id} of the registry is not an Avro schema: {e}")))?;
        let schema = Arc::new(schema);
        write(&self.schemas).insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    fn fetch(&self, id: u32) -> Result<String, NotDecoded> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.ask(id) {
                Ok(answer) => return answer,
                Err(_) if tries < TRIES => threads::pause(Duration::from_millis(100) * 4_u32.pow(tries)),
                Err(reason) => return Err(NotDecoded::Stop(ConnectorError::new(ErrorKind::Unavailable, reason))),
            }
        }
    }

    /// Requests the schema once. The outer error says why the registry did not answer, which can pass; the inner
    /// error says that it answered without a usable schema.
    fn ask(&self, id: u32) -> Result<Result<String, NotDecoded>, String> {
        let url = format!("{}/schemas/ids/{id}", self.url);
        let failed = |reason: &dyn std::fmt::Display| format!("the schema registry does not answer at {url}: {reason}");
        let mut request = self.agent.get(&url);
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        let mut response = request.call().map_err(|e| failed(&e))?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().map_err(|e| failed(&e))?;
        match status {
            200 => {
                let Answer { schema, kind } = serde_json::from_str(&body).map_err(|e| failed(&e))?;
                match kind.as_deref() {
                    None | Some("AVRO") => Ok(Ok(schema)),
                    Some(kind) => Ok(Err(NotDecoded::poison(format!("schema {id} is of kind {kind}, not Avro")))),
                }
            }
            404 => Ok(Err(NotDecoded::poison(format!("the schema registry knows no schema {id}")))),
            _ => Err(failed(&format!("{status} {body}"))),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::kafka::avro::decode_avro;

    /// Starts a registry that gives these answers (status, body) one after the other. The handle returns the requests.
    fn registry(answers: Vec<(u16, &'static str)>) -> (SchemaRegistry, threads::Handle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 2048];
                let read = stream.read(&mut request).unwrap();
                asked.push(String::from_utf8_lossy(&request[..read]).lines().next().unwrap().to_owned());
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes()).unwrap();
            }
            asked
        };
        (SchemaRegistry::new(url), threads::spawn("registry".to_owned(), serve).unwrap())
    }

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Payment {
        card: String,
        cents: i64,
    }

    const SCHEMA: &str = r#"{"type":"record","name":"Payment","fields":[{"name":"card","type":"string"},{"name":"cents","type":"long"}]}"#;

    fn payload(id: u32, payment: &Payment) -> Vec<u8> {
        let schema = apache_avro::Schema::parse_str(SCHEMA).unwrap();
        let value = apache_avro::to_value(payment).unwrap().resolve(&schema).unwrap();
        [&[0][..], &id.to_be_bytes(), &apache_avro::to_avro_datum(&schema, value).unwrap()].concat()
    }

    #[test]
    fn a_schema_is_requested_once_and_decodes() {
        let answer = r#"{"schema":"{\"type\":\"record\",\"name\":\"Payment\",\"fields\":[{\"name\":\"card\",\"type\":\"string\"},{\"name\":\"cents\",\"type\":\"long\"}]}"}"#;
        let (registry, server) = registry(vec![(500, "not yet"), (200, answer)]);
        for cents in [7, -7_000_000_000] {
            let payment = Payment { card: "c".to_owned(), cents };
            let decoded: Payment = decode_avro(&registry, &payload(42, &payment)).unwrap();
            assert_eq!(decoded, payment);
        }
        assert_eq!(
            server.join().unwrap(),
            ["GET /schemas/ids/42 HTTP/1.1"; 2],
            "one try that failed, one that did not"
        );
    }

    #[test]
    fn an_unknown_schema_is_the_messages_fault_and_a_registry_that_is_away_is_not() {
        let (registry, server) = registry(vec![(404, "{}")]);
        let payment = Payment { card: "c".to_owned(), cents: 1 };
        let result: Result<Payment, _> = decode_avro(&registry, &payload(9, &payment));
        assert!(matches!(result, Err(NotDecoded::Poison(reason)) if reason.contains("no schema 9")));
        server.join().unwrap();
        let result: Result<Payment, _> = decode_avro(&registry, &payload(10, &payment));
        assert!(matches!(result, Err(NotDecoded::Stop(error)) if error.kind() == ErrorKind::Unavailable));
        for (bytes, reason) in [(&b""[..], "empty"), (b"{}", "begins with byte 123"), (b"\0\0\0", "cut off")] {
            let result: Result<Payment, _> = decode_avro(&registry, bytes);
            assert!(matches!(result, Err(NotDecoded::Poison(found)) if found.contains(reason)));
        }
    }
}
