//! The topics that are read, their partitions, and the thread that finds new partitions while the job runs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::metadata::Metadata;
use regex::Regex;
use tidemill_engine::source::Waker;
use tidemill_engine::threads;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::client::{ASK, failed, metadata};
use super::position::PartitionId;

/// The topics that a source reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Topics {
    /// The topics with these names.
    Named(Vec<String>),
    /// All topics whose whole name matches, including those that are created while the job runs.
    Pattern(Regex),
}

impl Topics {
    /// Returns the topic of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(vec![name.into()])
    }

    /// Returns all topics whose whole name matches the regular expression.
    ///
    /// # Errors
    /// When `pattern` is not a regular expression.
    pub fn pattern(pattern: &str) -> Result<Self, ConnectorError> {
        Regex::new(&format!("^(?:{pattern})$")).map(Self::Pattern).map_err(|e| {
            ConnectorError::caused(ErrorKind::Invalid, format!("\"{pattern}\" is not a regular expression"), e)
        })
    }

    pub(super) fn reads(&self, topic: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == topic),
            Self::Pattern(pattern) => pattern.is_match(topic),
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => f.write_str(&names.join(", ")),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

/// Returns the partitions that `topics` have now.
pub(super) fn list<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &Topics,
) -> Result<BTreeSet<PartitionId>, ConnectorError> {
    let ask = |topic: Option<&str>| {
        metadata(consumer.client(), topic).map_err(|e| failed(format!("list the partitions of {topics}"), e))
    };
    match topics {
        Topics::Pattern(_) => {
            let metadata = ask(None)?;
            Ok(partitions(&metadata, topics).collect())
        }
        Topics::Named(names) => {
            let mut found = BTreeSet::new();
            for name in names {
                found.extend(partitions(&ask(Some(name))?, topics));
            }
            Ok(found)
        }
    }
}

/// Requests the metadata of each topic by name, because only then librdkafka reports the ids: a list of all topics has
/// none.
pub(super) fn identify<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &Topics,
    there: &BTreeSet<PartitionId>,
) -> Result<(), ConnectorError> {
    if matches!(topics, Topics::Named(_)) {
        return Ok(());
    }
    let names: BTreeSet<&str> = there.iter().map(|id| id.topic.as_str()).collect();
    for name in names {
        metadata(consumer.client(), Some(name)).map_err(|e| failed(format!("ask for topic \"{name}\""), e))?;
    }
    Ok(())
}

fn partitions<'a>(metadata: &'a Metadata, topics: &'a Topics) -> impl Iterator<Item = PartitionId> + 'a {
    let read = metadata.topics().iter().filter(|topic| topic.error().is_none() && topics.reads(topic.name()));
    read.flat_map(|topic| {
        let id = |partition| PartitionId { topic: topic.name().to_owned(), partition };
        topic.partitions().iter().map(move |partition| id(partition.id()))
    })
}

/// A partition that was created while the job runs, and its first offset.
pub(super) type Found = (PartitionId, i64);

/// Checks for new partitions at an interval. It has its own thread, because requests block.
pub(super) struct Scout {
    pub(super) found: Receiver<Found>,
    stop: Option<Sender<()>>,
    thread: Option<threads::Handle<()>>,
}

impl Scout {
    /// Starts to check every `interval` for partitions of `topics` that are `mine` and not `known`.
    pub(super) fn start<C: ConsumerContext + 'static>(
        consumer: Arc<BaseConsumer<C>>,
        topics: Topics,
        mut known: BTreeSet<PartitionId>,
        mine: impl Fn(&PartitionId) -> bool + Send + 'static,
        interval: Duration,
        waker: Waker,
    ) -> Result<Self, ConnectorError> {
        let (report, found) = crossbeam_channel::unbounded();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let look = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = look_once(&consumer, &topics, &mut known, &mine, &report, &waker) {
                    // The brokers are unreachable, which reading reports; a later check may succeed.
                    tracing::debug!(%error, "could not look for new partitions");
                }
            }
        };
        let thread = threads::spawn("kafka-scout".to_owned(), look).map_err(|e| {
            ConnectorError::caused(
                ErrorKind::Unavailable,
                "could not start the thread that looks for new partitions",
                e,
            )
        })?;
        Ok(Self { found, stop: Some(stop), thread: Some(thread) })
    }
}

fn look_once<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &Topics,
    known: &mut BTreeSet<PartitionId>,
    mine: &impl Fn(&PartitionId) -> bool,
    report: &Sender<Found>,
    waker: &Waker,
) -> Result<(), ConnectorError> {
    for id in list(consumer, topics)? {
        if !mine(&id) || known.contains(&id) {
            continue;
        }
        let (first, _) = consumer
            .fetch_watermarks(&id.topic, id.partition, ASK)
            .map_err(|e| failed(format!("ask for the first offset of {id}"), e))?;
        known.insert(id.clone());
        drop(report.send((id, first)));
        waker.wake();
    }
    Ok(())
}

impl Drop for Scout {
    fn drop(&mut self) {
        self.stop = None;
        // A thread that still waits for an answer is not joined: it ends by itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.is_finished()) {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let topics = Topics::pattern("payments|refunds-.*").unwrap();
        assert!(topics.reads("payments") && topics.reads("refunds-eu"));
        assert!(!topics.reads("old-payments") && !topics.reads("payments2"));
        assert!(Topics::pattern("(").unwrap_err().to_string().contains("not a regular expression"));
    }
}
