//! Sources and destinations of records: files and folders; topics, which are both; inputs that go on (`live`); and systems that
//! are written to (`written`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "kafka")]
use tidemill::kafka::KafkaUrl;
use tidemill::prelude::*;

use super::live::Live;
#[cfg(feature = "kafka")]
use super::topic;
use super::written::Written;

/// A path or a URL.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file or folder.
    Path(PathBuf),
    /// A topic.
    #[cfg(feature = "kafka")]
    Kafka(KafkaUrl),
    /// What is only read.
    Live(Live),
    /// What is only written to.
    Written(Written),
}

/// The schemes that programs know, each with the feature that it needs.
const SCHEMES: [(&[&str], &str); 7] = [
    (&["kafka"], "kafka"),
    (&["kinesis"], "kinesis"),
    (&["mqtt", "mqtts"], "mqtt"),
    (&["http+ingest", "https+ingest"], "ingest"),
    (&["postgres", "postgresql"], "postgres"),
    (&["redis", "rediss"], "redis"),
    (&["webhook+https", "webhook+http"], "webhook"),
];

const LOOKS: &str = "give a path, kafka://host:port/topic, kinesis://region/stream, mqtt://host:port/topic, http+ingest://host:port/path, postgres://host:port/database?table=NAME, \
    redis://host:port/0?key=NAME (or, to read, ?stream=NAME), or webhook+https://host/path";

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else { return Ok(Self::Path(text.into())) };
        #[cfg(feature = "kafka")]
        if scheme == "kafka" {
            return text.parse().map(Self::Kafka).map_err(|e: tidemill::kafka::KafkaUrlError| e.to_string());
        }
        if let Some(live) = Live::parse(text) {
            return live.map(Self::Live);
        }
        if let Some(written) = Written::parse(text) {
            return written.map(Self::Written);
        }
        match SCHEMES.iter().find(|(schemes, _)| schemes.contains(&scheme)) {
            Some((_, feature)) => {
                Err(format!("this program knows no \"{scheme}://\": build it with the feature \"{feature}\""))
            }
            None => Err(format!("\"{scheme}://\" is not known: {LOOKS}")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            #[cfg(feature = "kafka")]
            Self::Kafka(url) => url.fmt(f),
            Self::Live(live) => live.fmt(f),
            Self::Written(written) => written.fmt(f),
        }
    }
}

/// The input of a job.
pub enum Input {
    /// No input was named, so it is simulated.
    Simulated,
    /// Files, in the order in which they were named.
    Files(Vec<PathBuf>),
    /// What goes on, which is read alone.
    Live(Box<Live>),
}

impl Input {
    /// Returns the input that these places are.
    ///
    /// # Errors
    /// When what goes on is named beside something else, or what is only written to.
    pub fn of(places: &[Place]) -> Result<Self, JobError> {
        let path = |place: &Place| match place {
            Place::Path(path) => Ok(path.clone()),
            Place::Written(url) => Err(JobError::Invalid(format!("--input: {url} is written to, and cannot be read"))),
            other => Err(JobError::Invalid(format!("--input: {other} is read alone, without files or another input"))),
        };
        match places {
            [] => Ok(Self::Simulated),
            #[cfg(feature = "kafka")]
            [Place::Kafka(url)] => Ok(Self::Live(Live::Kafka(url.clone()).into())),
            [Place::Live(live)] => Ok(Self::Live(live.clone().into())),
            places => places.iter().map(path).collect::<Result<_, _>>().map(Self::Files),
        }
    }
}

/// Writes a stream to a folder, to a topic under `key`, to another system, or nowhere.
pub fn write<D: Data>(
    stream: Stream<'_, D>,
    name: &str,
    place: Option<&Place>,
    key: impl Fn(&D) -> String + Send + Sync + 'static,
) -> Result<(), JobError> {
    let _ = &key; // only topics have keys
    match place {
        None => stream.sink(name, &NullSink::default()),
        Some(Place::Path(folder)) => stream.sink(name, &FileSink::json_lines(folder)),
        #[cfg(feature = "kafka")]
        Some(Place::Kafka(url)) => stream.sink(name, &topic::sink(url, key)?),
        Some(Place::Live(url)) => Err(JobError::Invalid(format!("{name}: {url} is only read"))),
        Some(Place::Written(url)) => url.sink(stream, name),
    }
}

/// Writes dead letters. Those from a topic have topic, partition and offset in their headers.
pub fn write_dead_letters(stream: Stream<'_, DeadLetter>, place: Option<&Place>) -> Result<(), JobError> {
    match place {
        #[cfg(feature = "kafka")]
        Some(Place::Kafka(url)) => stream.sink("dead-letters", &topic::dead_letter_sink(url)?),
        place => write(stream, "dead-letters", place, |letter| letter.origin.clone()),
    }
}
