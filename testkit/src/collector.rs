//! A collector of OpenTelemetry that takes spans as OTLP over HTTP, for tests. It can refuse them, or never answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the collector does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// It takes all spans.
    Take,
    /// It answers with this status.
    Status(u16),
    /// It reads requests and never answers.
    Silent,
}

/// A span, with ids in hex and attributes as text.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub began: u64,
    pub ended: u64,
    pub attributes: BTreeMap<String, String>,
    /// The message of the status, if it is an error.
    pub error: Option<String>,
    /// What the process says of itself.
    pub resource: BTreeMap<String, String>,
}

/// A collector on loopback, which runs as long as the process.
pub struct Collector {
    /// Where to send spans to: the base of `/v1/traces`.
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<Span>,
    heads: Vec<String>,
}

impl Collector {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(client, manner, &shared));
            }
        });
        Self { url, seen }
    }

    /// Returns the spans that have been sent so far.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.seen).spans.clone()
    }

    /// Returns the heads of the requests so far, in lower case.
    pub fn heads(&self) -> Vec<String> {
        lock(&self.seen).heads.clone()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of a connection, until it ends.
fn serve(client: TcpStream, manner: Manner, seen: &Mutex<Seen>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut client = client;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        {
            let mut seen = lock(seen);
            seen.heads.push(head);
            seen.spans.extend(spans(&body));
        }
        let status = match manner {
            Manner::Take => 200,
            Manner::Status(status) => status,
            Manner::Silent => continue,
        };
        write!(client, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

/// Reads an `ExportTraceServiceRequest` of `opentelemetry/proto`.
fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in all(request, 1) {
        let resource: BTreeMap<_, _> = all(resource_spans, 1).flat_map(|resource| attributes(resource, 1)).collect();
        for scope_spans in all(resource_spans, 2) {
            spans.extend(all(scope_spans, 2).map(|span| read(span, &resource)));
        }
    }
    spans
}

fn read(span: &[u8], resource: &BTreeMap<String, String>) -> Span {
    let hex = |field| all(span, field).flatten().map(|byte| format!("{byte:02x}")).collect();
    let error = all(span, 15).find(|status| number(status, 3) == 2).map(|status| text(status, 2));
    Span {
        trace: hex(1),
        id: hex(2),
        parent: hex(4),
        name: text(span, 5),
        kind: number(span, 6),
        began: number(span, 7),
        ended: number(span, 8),
        attributes: attributes(span, 9).collect(),
        error,
        resource: resource.clone(),
    }
}

fn attributes(message: &[u8], field: u64) -> impl Iterator<Item = (String, String)> {
    all(message, field).map(|pair| {
        let value = all(pair, 2).next().expect("a value");
        let is_text = fields(value).iter().any(|(field, _)| *field == 1);
        (text(pair, 1), if is_text { text(value, 1) } else { number(value, 3).to_string() })
    })
}

/// A field: its number and either its bytes or its value.
type Field<'a> = (u64, Result<&'a [u8], u64>);

fn fields(mut message: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, Err(varint(&mut message))));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (bytes, rest) = message.split_at(length);
        message = rest;
        let number = || bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let value = if key & 7 == 2 { Ok(bytes) } else { Err(number()) };
        fields.push((key >> 3, value));
    }
    fields
}

fn varint(from: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first().expect("a whole number");
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Returns the values of a field that are bytes, text or messages.
fn all(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter(move |(field, _)| *field == wanted).filter_map(|(_, value)| value.ok())
}

fn text(message: &[u8], field: u64) -> String {
    String::from_utf8(all(message, field).next().unwrap_or_default().to_vec()).expect("text")
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let found = fields(message).into_iter().find(|(field, _)| *field == wanted);
    found.map_or(0, |(_, value)| value.expect_err("a number"))
}
