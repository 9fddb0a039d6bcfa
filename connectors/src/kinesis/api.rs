//! The operations of Kinesis that the source needs, and what their errors mean for it.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_engine::{Clock, ConnectorError, ErrorKind};

use super::message::Received;
use crate::aws::{CallError, Client, Endpoint, Service};

const KINESIS: Service = Service { name: "kinesis", target: "Kinesis_20131202" };
/// Maximum time for an answer with records, which may have 10 MiB.
const RECORDS: Duration = Duration::from_secs(30);
/// Maximum time for any other answer.
const ASK: Duration = Duration::from_secs(10);
/// Maximum number of answers to one listing, each of up to 1,000 shards.
const PAGES: usize = 1000;

/// Why an operation has no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The service has had too many requests.
    Throttled(String),
    /// It may work later.
    Later(String),
    /// The iterator is not valid any more.
    Iterator(String),
    /// It will not work.
    Refused(ConnectorError),
}

/// What identifies a stream: one that was deleted and created again has the same ARN, and another time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamIdentity {
    pub(super) arn: String,
    /// When it was created, in milliseconds since the Unix epoch.
    pub(super) created: i64,
}

/// A stream as the service describes it.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) identity: StreamIdentity,
    /// For how long it keeps records.
    pub(super) retention: Duration,
}

/// A shard as the service lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) id: String,
    /// The shards that it was split or merged from.
    pub(super) parents: Vec<String>,
    pub(super) hash_keys: RangeInclusive<u128>,
    /// Whether it takes no more records, because it was split or merged.
    pub(super) closed: bool,
}

/// Where an iterator begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From<'a> {
    TrimHorizon,
    /// At the first record that arrived at this time or later, in milliseconds since the Unix epoch.
    Timestamp(i64),
    After(&'a str),
}

/// The answer to a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) records: Vec<Received>,
    /// None at the end of a closed shard.
    pub(super) next: Option<String>,
    pub(super) behind: Duration,
}

/// A stream at its service.
pub(super) struct Api {
    client: Client,
    stream: String,
}

impl Api {
    pub(super) fn new(endpoint: Endpoint, region: &str, stream: &str, clock: Clock) -> Self {
        Self { client: Client::new(KINESIS, endpoint, region, clock), stream: stream.to_owned() }
    }

    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// Returns the time by the clock of the service, in milliseconds since the Unix epoch; wrong by up to a second.
    pub(super) fn now(&self) -> i64 {
        self.client.service_time()
    }

    pub(super) fn summary(&self) -> Result<Summary, Trouble> {
        let body = self.call("DescribeStreamSummary", &json!({ "StreamName": self.stream }), ASK)?;
        let SummaryAnswer { stream_description_summary: summary } = parse(&body)?;
        let created = milliseconds(summary.stream_creation_timestamp);
        Ok(Summary {
            identity: StreamIdentity { arn: summary.stream_arn, created },
            retention: Duration::from_hours(summary.retention_period_hours),
        })
    }

    pub(super) fn shards(&self) -> Result<Vec<Shard>, Trouble> {
        let mut shards = Vec::new();
        let mut request = json!({ "StreamName": self.stream });
        for _ in 0..PAGES {
            let body = self.call("ListShards", &request, ASK)?;
            let page: ShardsAnswer = parse(&body)?;
            for shard in page.shards {
                shards.push(shard.read()?);
            }
            match page.next_token {
                None => return Ok(shards),
                Some(token) => request = json!({ "NextToken": token }),
            }
        }
        Err(Trouble::Later(format!("the list of shards had not ended after {PAGES} answers")))
    }

    pub(super) fn iterator(&self, shard: &str, from: &From<'_>) -> Result<String, Trouble> {
        let mut request = json!({ "StreamName": self.stream, "ShardId": shard });
        let mut set = |name: &str, value: Value| request[name] = value;
        match from {
            From::TrimHorizon => set("ShardIteratorType", "TRIM_HORIZON".into()),
            From::Timestamp(ms) => {
                set("ShardIteratorType", "AT_TIMESTAMP".into());
                set("Timestamp", (*ms as f64 / 1000.0).into());
            }
            From::After(sequence) => {
                set("ShardIteratorType", "AFTER_SEQUENCE_NUMBER".into());
                set("StartingSequenceNumber", (*sequence).into());
            }
        }
        let body = self.call("GetShardIterator", &request, ASK)?;
        parse(&body).map(|answer: IteratorAnswer| answer.shard_iterator)
    }

    pub(super) fn records(&self, iterator: &str) -> Result<Records, Trouble> {
        let body = self.call("GetRecords", &json!({ "ShardIterator": iterator }), RECORDS)?;
        let answer: RecordsAnswer<'_> = parse(&body)?;
        let records = answer.records.into_iter().map(Record::read).collect::<Result<_, _>>()?;
        let behind = Duration::from_millis(answer.millis_behind_latest);
        Ok(Records { records, next: answer.next_shard_iterator, behind })
    }

    fn call(&self, operation: &str, request: &Value, limit: Duration) -> Result<Vec<u8>, Trouble> {
        let what = || format!("call {operation} of Kinesis for stream \"{}\"", self.stream);
        self.client.call(operation, request.to_string().as_bytes(), limit).map_err(|error| trouble(error, &what()))
    }
}

/// Codes by which the service asks for fewer requests.
const TOO_MANY: [&str; 5] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "KMSThrottlingException",
    "RequestLimitExceeded",
];
/// Codes of what passes by itself, with a status that does not say so.
const PASSING: [&str; 4] =
    ["InternalFailureException", "ResourceInUseException", "RequestTimeoutException", "ServiceUnavailableException"];

fn trouble(error: CallError, what: &str) -> Trouble {
    let (status, code, message) = match error {
        CallError::Refused { status, code, message } => (status, code, message),
        CallError::NoAnswer(reason) => return Trouble::Later(format!("could not {what}: {reason}")),
        CallError::Credentials(error) if error.kind() == ErrorKind::Unavailable => {
            return Trouble::Later(error.to_string());
        }
        CallError::Credentials(error) => return Trouble::Refused(error),
    };
    let text = format!("could not {what}: {code}: {message}");
    let is_iterator = what.starts_with("call GetRecords") && code == "InvalidArgumentException";
    match code.as_str() {
        code if TOO_MANY.contains(&code) || status == 429 => Trouble::Throttled(text),
        code if PASSING.contains(&code) || status >= 500 || status == 408 => Trouble::Later(text),
        "ExpiredIteratorException" => Trouble::Iterator(text),
        _ if is_iterator => Trouble::Iterator(text),
        "ResourceNotFoundException" => {
            let advice = "it was deleted, or is in another region or account";
            Trouble::Refused(ConnectorError::new(ErrorKind::Invalid, format!("{text}; {advice}")))
        }
        _ => Trouble::Refused(ConnectorError::new(ErrorKind::Invalid, text)),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|e| unreadable(&format!("{e}, in {} bytes", body.len())))
}

fn unreadable(why: &str) -> Trouble {
    Trouble::Later(format!("an answer of Kinesis cannot be read: {why}"))
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryAnswer {
    stream_description_summary: Described,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_creation_timestamp: f64,
    retention_period_hours: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardsAnswer {
    shards: Vec<ListedShard>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedShard {
    shard_id: String,
    parent_shard_id: Option<String>,
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeys,
    sequence_number_range: SequenceNumbers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeys {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumbers {
    ending_sequence_number: Option<String>,
}

impl ListedShard {
    fn read(self) -> Result<Shard, Trouble> {
        let key = |text: &str| text.parse().map_err(|_| unreadable(&format!("\"{text}\" is not a hash key")));
        let HashKeys { starting_hash_key: start, ending_hash_key: end } = &self.hash_key_range;
        Ok(Shard {
            id: self.shard_id,
            parents: self.parent_shard_id.into_iter().chain(self.adjacent_parent_shard_id).collect(),
            hash_keys: key(start)?..=key(end)?,
            closed: self.sequence_number_range.ending_sequence_number.is_some(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IteratorAnswer {
    shard_iterator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordsAnswer<'a> {
    #[serde(borrow)]
    records: Vec<Record<'a>>,
    next_shard_iterator: Option<String>,
    #[serde(default)]
    millis_behind_latest: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    sequence_number: String,
    partition_key: String,
    #[serde(borrow)]
    data: Cow<'a, str>,
    approximate_arrival_timestamp: f64,
}

impl Record<'_> {
    fn read(self) -> Result<Received, Trouble> {
        let data = STANDARD.decode(self.data.as_bytes());
        Ok(Received {
            data: data.map_err(|e| unreadable(&format!("the data of record {}: {e}", self.sequence_number)))?,
            sequence: self.sequence_number,
            partition_key: self.partition_key,
            arrived: milliseconds(self.approximate_arrival_timestamp),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Trouble {
        let (code, message) = (code.to_owned(), "no".to_owned());
        trouble(CallError::Refused { status, code, message }, "call GetRecords of Kinesis for stream \"s\"")
    }

    #[test]
    fn errors_are_sorted_by_what_is_done_about_them() {
        assert!(matches!(refused(400, "ProvisionedThroughputExceededException"), Trouble::Throttled(_)));
        assert!(matches!(refused(429, "status 429"), Trouble::Throttled(_)));
        assert!(matches!(refused(500, "InternalFailure"), Trouble::Later(_)));
        assert!(matches!(refused(503, "status 503"), Trouble::Later(_)));
        assert!(matches!(refused(400, "ResourceInUseException"), Trouble::Later(_)));
        assert!(matches!(refused(400, "ExpiredIteratorException"), Trouble::Iterator(_)));
        assert!(matches!(refused(400, "InvalidArgumentException"), Trouble::Iterator(_)));
        for code in ["AccessDeniedException", "ResourceNotFoundException", "InvalidSignatureException", "status 404"] {
            let Trouble::Refused(error) = refused(400, code) else { panic!("{code}") };
            assert!(error.to_string().contains(code) && error.to_string().contains("\"s\""), "{error}");
        }
    }

    #[test]
    fn answers_are_read_and_half_ones_are_not() {
        let body = r#"{"Records":[{"Data":"aGk=","PartitionKey":"k","SequenceNumber":"49",
            "ApproximateArrivalTimestamp":1796098383.827}],"MillisBehindLatest":7,"NextShardIterator":"n"}"#;
        let answer: RecordsAnswer<'_> = parse(body.as_bytes()).unwrap();
        let record = answer.records.into_iter().next().unwrap().read().unwrap();
        assert_eq!((record.data.as_slice(), record.arrived), (&b"hi"[..], 1_796_098_383_827));
        for end in 0..body.len() {
            assert!(matches!(parse::<RecordsAnswer<'_>>(&body.as_bytes()[..end]), Err(Trouble::Later(_))), "{end}");
        }
        // An answer of another kind must not look like the end of a shard.
        assert!(parse::<RecordsAnswer<'_>>(b"{}").is_err());
        assert!(parse::<RecordsAnswer<'_>>(br#"{"__type":"X"}"#).is_err());
        let wrong = Record {
            sequence_number: "1".to_owned(),
            partition_key: String::new(),
            data: "a".into(),
            approximate_arrival_timestamp: 0.0,
        };
        assert!(matches!(wrong.read(), Err(Trouble::Later(_))));
    }
}
