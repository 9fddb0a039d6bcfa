//! A service of the tests' own that speaks as Kinesis does, and otherwise where a test wants it: broken answers, refusals, shards
//! whose records expire. It has one stream.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};

/// Number of records in an answer.
const PAGE: usize = 100;
const DAY_MS: i64 = 24 * 3_600_000;

/// What a test answers instead.
pub enum Reply {
    /// An error with this code.
    Refused(u16, &'static str),
    /// This body, with status 200.
    Body(String),
    /// The first half of the true answer.
    Half,
    /// The connection is closed.
    Nothing,
}

/// A call: its operation, and its request.
pub struct Call {
    pub operation: String,
    pub request: Value,
    pub headers: BTreeMap<String, String>,
}

type Instead = Box<dyn FnMut(&Call) -> Option<Reply> + Send>;

#[derive(Clone, Debug)]
struct Record {
    sequence: u64,
    key: String,
    data: Vec<u8>,
    arrived: i64,
}

#[derive(Clone, Debug)]
struct Shard {
    parents: Vec<String>,
    hash_keys: (u128, u128),
    closed: bool,
    records: Vec<Record>,
}

struct State {
    shards: BTreeMap<String, Shard>,
    instead: Instead,
    calls: Vec<Call>,
    /// Iterators of earlier generations have expired.
    generation: u64,
    /// By how much the clock of the service is ahead.
    ahead_ms: i64,
    created: i64,
    next: u64,
}

/// A running service.
#[derive(Clone)]
pub struct Service {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Service {
    /// Starts a service whose stream has these shards, which have equal parts of the hash keys.
    pub fn start(shards: u128) -> Self {
        let width = u128::MAX / shards;
        let shard = |n: u128| {
            let end = if n + 1 == shards { u128::MAX } else { (n + 1) * width - 1 };
            let shard = Shard { parents: Vec::new(), hash_keys: (n * width, end), closed: false, records: Vec::new() };
            (id(n as usize), shard)
        };
        let state = State {
            shards: (0..shards).map(shard).collect(),
            instead: Box::new(|_| None),
            calls: Vec::new(),
            generation: 0,
            ahead_ms: 0,
            created: 1000,
            next: 100,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Self { address: listener.local_addr().unwrap(), state: Arc::new(Mutex::new(state)) };
        let served = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let service = served.clone();
                std::thread::spawn(move || service.serve(stream));
            }
        });
        service
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the URL of the stream, with these options.
    pub fn url(&self, options: &str) -> String {
        format!("kinesis://eu-west-1/readings?endpoint=http://{}&discovery-interval=1s&{options}", self.address)
    }

    /// Answers otherwise from now on, where there is another answer.
    pub fn answer(&self, instead: impl FnMut(&Call) -> Option<Reply> + Send + 'static) {
        self.lock().instead = Box::new(instead);
    }

    /// Returns how often an operation was called.
    pub fn count(&self, operation: &str) -> usize {
        self.lock().calls.iter().filter(|call| call.operation == operation).count()
    }

    /// Looks at the calls so far.
    pub fn calls<R>(&self, look: impl FnOnce(&[Call]) -> R) -> R {
        look(&self.lock().calls)
    }

    /// Puts a reading of this number into a shard.
    pub fn put(&self, shard: usize, n: u64) {
        self.put_data(shard, &format!("m{shard}"), format!("{{\"n\": {n}, \"celsius\": 1}}").as_bytes());
    }

    pub fn put_data(&self, shard: usize, key: &str, data: &[u8]) {
        let mut state = self.lock();
        let (sequence, arrived) = (state.next, now(&state));
        state.next += 1;
        let record = Record { sequence, key: key.to_owned(), data: data.to_vec(), arrived };
        state.shards.get_mut(&id(shard)).unwrap().records.push(record);
    }

    /// Splits a shard. What comes of it has the next two numbers.
    pub fn split(&self, shard: usize) {
        let mut state = self.lock();
        let next = state.shards.len();
        let parent = state.shards.get_mut(&id(shard)).unwrap();
        parent.closed = true;
        let (start, end) = parent.hash_keys;
        let middle = start + (end - start) / 2;
        for (n, hash_keys) in [(next, (start, middle)), (next + 1, (middle + 1, end))] {
            let shard = Shard { parents: vec![id(shard)], hash_keys, closed: false, records: Vec::new() };
            state.shards.insert(id(n), shard);
        }
    }

    /// Lets all iterators expire.
    pub fn expire_iterators(&self) {
        self.lock().generation += 1;
    }

    /// Lets hours pass: records expire after a day.
    pub fn pass(&self, hours: i64) {
        self.lock().ahead_ms += hours * 3_600_000;
    }

    /// Forgets a shard.
    pub fn forget(&self, shard: usize) {
        self.lock().shards.remove(&id(shard));
    }

    /// Makes the stream another one of the same name.
    pub fn recreate(&self) {
        self.lock().created += 86_400;
    }

    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let operation = headers["x-amz-target"].strip_prefix("Kinesis_20131202.").unwrap().to_owned();
        let call = Call { operation, request: serde_json::from_slice(&body).unwrap(), headers };
        let mut state = self.lock();
        let refused = |code: &str| json!({ "__type": code, "message": "said the service" }).to_string();
        let (status, body) = match ((state.instead)(&call), state.answer(&call)) {
            (Some(Reply::Refused(status, code)), _) => (status, refused(code)),
            (Some(Reply::Body(body)), _) => (200, body),
            (Some(Reply::Half), Ok(body)) => (200, body[..body.len() / 2].to_owned()),
            (Some(Reply::Nothing), _) => (0, String::new()),
            (_, Ok(body)) => (200, body),
            (_, Err(code)) => (400, refused(code)),
        };
        let date = UNIX_EPOCH + Duration::from_millis(now(&state) as u64);
        state.calls.push(call);
        drop(state);
        if status > 0 {
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::try_from(date).unwrap()).unwrap();
            let head = format!(
                "HTTP/1.1 {status} Said\r\nDate: {date}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            drop(stream.get_mut().write_all((head + &body).as_bytes()));
        }
    }
}

fn id(number: usize) -> String {
    format!("shardId-{number:012}")
}

fn now(state: &State) -> i64 {
    Timestamp::now().as_millisecond() + state.ahead_ms
}

impl State {
    fn answer(&self, call: &Call) -> Result<String, &'static str> {
        let request = &call.request;
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let answer = match call.operation.as_str() {
            "DescribeStreamSummary" => json!({ "StreamDescriptionSummary": {
                "StreamARN": "arn:aws:kinesis:eu-west-1:1:stream/readings",
                "StreamCreationTimestamp": self.created,
                "RetentionPeriodHours": 24,
            } }),
            "ListShards" => {
                // A page for each shard.
                let at: usize = text("NextToken").parse().unwrap_or(0);
                let shard = self.shards.iter().nth(at).map(|(id, shard)| {
                    let mut range = json!({ "StartingSequenceNumber": "1" });
                    if shard.closed {
                        range["EndingSequenceNumber"] = "2".into();
                    }
                    let (start, end) = shard.hash_keys;
                    json!({
                        "ShardId": id,
                        "ParentShardId": shard.parents.first(),
                        "AdjacentParentShardId": shard.parents.get(1),
                        "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
                        "SequenceNumberRange": range,
                    })
                });
                let more = (at + 1 < self.shards.len()).then(|| (at + 1).to_string());
                json!({ "Shards": shard.into_iter().collect::<Vec<_>>(), "NextToken": more })
            }
            "GetShardIterator" => {
                let shard = self.shards.get(text("ShardId")).ok_or("ResourceNotFoundException")?;
                let kept = |record: &&Record| record.arrived >= now(self) - DAY_MS;
                let first = |is: &dyn Fn(&Record) -> bool| {
                    let found = shard.records.iter().filter(kept).find(|record| is(record));
                    found.map_or(self.next, |record| record.sequence)
                };
                let sequence: u64 = text("StartingSequenceNumber").parse().unwrap_or(0);
                let at = match text("ShardIteratorType") {
                    "TRIM_HORIZON" => first(&|_| true),
                    "AT_TIMESTAMP" => {
                        let from = (request["Timestamp"].as_f64().unwrap() * 1000.0) as i64;
                        if from > now(self) {
                            return Err("InvalidArgumentException");
                        }
                        first(&|record| record.arrived >= from)
                    }
                    // As it was seen: after a record that has expired it gives nothing, and says that it is a day behind.
                    "AFTER_SEQUENCE_NUMBER" if !shard.records.iter().filter(kept).any(|r| r.sequence == sequence) => 0,
                    "AFTER_SEQUENCE_NUMBER" => sequence + 1,
                    _ => return Err("ValidationException"),
                };
                json!({ "ShardIterator": format!("{} {at} {}", text("ShardId"), self.generation) })
            }
            "GetRecords" => return self.records(text("ShardIterator")),
            _ => return Err("UnknownOperationException"),
        };
        Ok(answer.to_string())
    }

    fn records(&self, iterator: &str) -> Result<String, &'static str> {
        let parts: Vec<&str> = iterator.split(' ').collect();
        let [shard, at, generation] = parts[..] else { return Err("InvalidArgumentException") };
        let at: u64 = at.parse().unwrap();
        if generation != self.generation.to_string() {
            return Err("ExpiredIteratorException");
        }
        let known = self.shards.get(shard).ok_or("ResourceNotFoundException")?;
        let kept = known.records.iter().filter(|record| record.arrived >= now(self) - DAY_MS);
        let page: Vec<&Record> = kept.filter(|record| at > 0 && record.sequence >= at).take(PAGE).collect();
        let last = page.last().map(|record| record.sequence);
        let is_end = at > 0 && known.records.iter().all(|record| record.sequence <= last.unwrap_or(at));
        let next = if at == 0 { 0 } else { last.map_or(at, |last| last + 1) };
        let next = (!(known.closed && is_end)).then(|| format!("{shard} {next} {generation}"));
        let record = |record: &&Record| {
            json!({
                "SequenceNumber": record.sequence.to_string(),
                "PartitionKey": record.key,
                "Data": STANDARD.encode(&record.data),
                "ApproximateArrivalTimestamp": record.arrived as f64 / 1000.0,
            })
        };
        let behind = if at == 0 { DAY_MS } else { i64::from(!is_end) * 1000 };
        let records: Vec<Value> = page.iter().map(record).collect();
        Ok(json!({ "Records": records, "NextShardIterator": next, "MillisBehindLatest": behind }).to_string())
    }
}
