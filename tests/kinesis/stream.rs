//! A stream of the emulator: how tests put records into it, and split and merge its shards.

use std::ops::Range;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::kinesalite::{Kinesalite, modules};
use testkit::project;
use tests::until;

/// Number of partition keys.
pub const KEYS: u64 = 40;

/// A stream at an address.
#[derive(Clone)]
pub struct Stream {
    pub endpoint: String,
    pub name: &'static str,
}

/// Starts an emulator that keeps its streams in this folder.
pub fn emulator(folder: &Path) -> Kinesalite {
    let servers = std::env::var_os("TIDEMILL_SERVERS").map_or_else(|| project().join(".cache/servers"), PathBuf::from);
    let started = Kinesalite::start(&modules(&servers), folder);
    started.unwrap_or_else(|e| panic!("{e}\n`cargo xtask test` installs kinesalite into \"{}\"", servers.display()))
}

impl Stream {
    /// Creates a stream with this number of shards, and waits until it is there.
    pub fn create(endpoint: String, name: &'static str, shards: usize) -> Self {
        let stream = Self { endpoint, name };
        stream.call("CreateStream", json!({ "StreamName": name, "ShardCount": shards }));
        stream.until_active();
        stream
    }

    /// Calls an operation. The emulator wants a signature and does not look at it.
    pub fn try_call(&self, operation: &str, request: &Value) -> Result<Value, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let signature =
            "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=b";
        let sent = agent
            .post(&self.endpoint)
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", format!("Kinesis_20131202.{operation}"))
            .header("X-Amz-Date", "20260101T000000Z")
            .header("Authorization", signature)
            .send(request.to_string());
        let mut answer = sent.map_err(|e| e.to_string())?;
        let body = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
        if answer.status() != 200 {
            return Err(body);
        }
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() })
    }

    pub fn call(&self, operation: &str, request: Value) -> Value {
        self.try_call(operation, &request).unwrap_or_else(|e| panic!("{operation} {request}: {e}"))
    }

    fn until_active(&self) {
        until("the stream is active", || {
            let summary = self.call("DescribeStreamSummary", json!({ "StreamName": self.name }));
            summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        });
    }

    /// Deletes the stream, and waits until it is gone.
    pub fn delete(&self) {
        self.call("DeleteStream", json!({ "StreamName": self.name }));
        until("the stream is gone", || {
            self.try_call("DescribeStreamSummary", &json!({ "StreamName": self.name })).is_err()
        });
    }

    /// Puts readings with these numbers into the stream, each under one of [`KEYS`] keys.
    pub fn put(&self, numbers: Range<u64>) {
        let numbers: Vec<u64> = numbers.collect();
        for piece in numbers.chunks(500) {
            let record = |n: &u64| (format!("m{}", n % KEYS), format!("{{\"n\": {n}, \"celsius\": {}}}", 80 + n % 20));
            let records: Vec<_> = piece.iter().map(record).collect();
            self.put_all(&records.iter().map(|(key, data)| (key.as_str(), data.as_bytes())).collect::<Vec<_>>());
        }
    }

    /// Puts records with these keys and data into the stream.
    pub fn put_all(&self, records: &[(&str, &[u8])]) {
        let record = |(key, data): &(&str, &[u8])| json!({ "PartitionKey": key, "Data": STANDARD.encode(data) });
        let records: Vec<Value> = records.iter().map(record).collect();
        let answer = self.call("PutRecords", json!({ "StreamName": self.name, "Records": records }));
        assert_eq!(answer["FailedRecordCount"], 0, "{answer}");
    }

    /// Returns the open shards in the order of their hash keys: id, first and last hash key.
    pub fn open(&self) -> Vec<(String, u128, u128)> {
        let answer = self.call("ListShards", json!({ "StreamName": self.name }));
        let open = answer["Shards"].as_array().unwrap().iter();
        let open = open.filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
        let key = |shard: &Value, name: &str| shard["HashKeyRange"][name].as_str().unwrap().parse().unwrap();
        let mut open: Vec<_> = open
            .map(|shard| {
                let id = shard["ShardId"].as_str().unwrap().to_owned();
                (id, key(shard, "StartingHashKey"), key(shard, "EndingHashKey"))
            })
            .collect();
        open.sort_by_key(|(_, start, _)| *start);
        open
    }

    /// Splits the open shard of this number in its middle.
    pub fn split(&self, number: usize) {
        let open = self.open();
        let (id, start, end) = &open[number % open.len()];
        let middle = (start + (end - start) / 2).to_string();
        self.call("SplitShard", json!({ "StreamName": self.name, "ShardToSplit": id, "NewStartingHashKey": middle }));
        self.until_active();
    }

    /// Merges the open shard of this number with the next one.
    pub fn merge(&self, number: usize) {
        let open = self.open();
        let number = number % (open.len() - 1);
        let (one, other) = (&open[number].0, &open[number + 1].0);
        let request = json!({ "StreamName": self.name, "ShardToMerge": one, "AdjacentShardToMerge": other });
        self.call("MergeShards", request);
        self.until_active();
    }
}
