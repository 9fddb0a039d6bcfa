//! The broker that the tests use, its topics, and their messages.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

/// Returns a lock that lets these tests run one at a time, since they kill processes and depend on real time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of a cluster.
#[derive(Clone)]
pub struct Cluster {
    pub address: String,
}

/// Returns the broker of `TIDEMILL_KAFKA`. Without one, the test prints that it did not run, and fails in CI.
pub fn cluster() -> Option<Cluster> {
    let address = std::env::var("TIDEMILL_KAFKA").ok();
    if address.is_none() {
        assert!(std::env::var_os("CI").is_none(), "TIDEMILL_KAFKA is not set, and CI must have a broker");
        eprintln!("NOT RUN: no broker: `cargo xtask test` starts one, or set TIDEMILL_KAFKA=host:port");
    }
    address.map(|address| Cluster { address })
}

/// A message as a consumer sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub partition: i32,
    pub key: String,
    pub payload: String,
    pub headers: BTreeMap<String, String>,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|e| panic!("{e}: {}", self.payload))
    }
}

/// A topic, which is deleted when this is dropped.
pub struct Topic {
    cluster: Cluster,
    pub name: String,
}

impl Topic {
    pub fn url(&self) -> String {
        format!("kafka://{}/{}", self.cluster.address, self.name)
    }

    pub fn url_with(&self, options: &str) -> String {
        format!("{}?{options}", self.url())
    }

    /// Returns all committed messages, by partition and offset.
    pub fn committed(&self) -> Vec<Seen> {
        self.cluster.read(&self.name, "read_committed")
    }

    /// Returns all messages, including those that are not committed or were aborted.
    pub fn uncommitted(&self) -> Vec<Seen> {
        self.cluster.read(&self.name, "read_uncommitted")
    }

    /// Deletes the records of a partition before `offset`, as retention does.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset)).unwrap();
        let answer = pollster::block_on(self.cluster.admin().delete_records(&list, &AdminOptions::new()));
        answer.unwrap().elements().iter().for_each(|element| element.error().unwrap());
    }

    pub fn add_partitions(&self, to: usize) {
        let admin = self.cluster.admin();
        let answer =
            pollster::block_on(admin.create_partitions(&[NewPartitions::new(&self.name, to)], &AdminOptions::new()));
        answer.unwrap().into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Produces messages (partition, key, payload) and waits until they are there.
    pub fn produce<P: AsRef<[u8]>>(&self, messages: impl IntoIterator<Item = (i32, String, P)>) {
        self.cluster.produce(&self.name, messages);
    }

    /// Deletes the topic and creates it again.
    pub fn recreate(&self, partitions: i32) {
        let admin = self.cluster.admin();
        let deleted = pollster::block_on(admin.delete_topics(&[&self.name], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|result| drop(result.unwrap()));
        // Creating it fails until the broker has completed the deletion.
        tests::until("the topic is created again", || self.cluster.try_create(&self.name, partitions, &[]).is_ok());
        self.cluster.wait_for(&self.name, partitions);
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let admin = self.cluster.admin();
        drop(pollster::block_on(admin.delete_topics(&[&self.name], &AdminOptions::new())));
    }
}

impl Cluster {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// Creates a topic with a unique name.
    pub fn topic(&self, name: &str, partitions: i32) -> Topic {
        self.topic_with(name, partitions, &[])
    }

    /// A new topic with exactly this name.
    pub fn named(&self, name: &str, partitions: i32) -> Topic {
        self.try_create(name, partitions, &[]).unwrap();
        self.wait_for(name, partitions);
        Topic { cluster: self.clone(), name: name.to_owned() }
    }

    pub fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let name = format!("{name}-{:08x}", rand::random::<u32>());
        self.try_create(&name, partitions, settings).unwrap();
        self.wait_for(&name, partitions);
        Topic { cluster: self.clone(), name }
    }

    fn try_create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<(), String> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let answer = pollster::block_on(self.admin().create_topics([&topic], &AdminOptions::new()));
        answer.unwrap().into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code.to_string()))
    }

    /// Waits until the broker reports a topic that was just created: until then, clients are told that it does not
    /// exist.
    fn wait_for(&self, name: &str, partitions: i32) {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let is_there = || {
            let metadata = consumer.fetch_metadata(Some(name), Duration::from_secs(30)).unwrap();
            metadata.topics()[0].partitions().len() == partitions as usize && metadata.topics()[0].error().is_none()
        };
        tests::until("the topic is there", is_there);
    }

    /// Produces messages (partition, key, payload; an empty payload is a tombstone) and waits until they are there.
    pub fn produce<P: AsRef<[u8]>>(&self, topic: &str, messages: impl IntoIterator<Item = (i32, String, P)>) {
        let producer: BaseProducer =
            self.config().set("linger.ms", "2").set("allow.auto.create.topics", "false").create().unwrap();
        for (partition, key, payload) in messages {
            let mut record = BaseRecord::to(topic).partition(partition).key(&key);
            if !payload.as_ref().is_empty() {
                record = record.payload(payload.as_ref());
            }
            while let Err((error, same)) = producer.send(record) {
                assert!(error.to_string().contains("QueueFull"), "{error}");
                producer.poll(Duration::from_millis(10));
                record = same;
            }
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }

    /// Returns the offset that a group has committed for each partition, or 0 if it has committed none.
    pub fn committed_offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let committed = consumer.committed_offsets(list, Duration::from_secs(30)).unwrap();
        committed.elements().iter().map(|element| element.offset().to_raw().unwrap_or(0).max(0)).collect()
    }

    pub fn read(&self, topic: &str, isolation: &str) -> Vec<Seen> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "tests")
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut open, mut seen) = (list.count(), Vec::new());
        while open > 0 {
            match consumer.poll(Duration::from_secs(30)).expect("the end of each partition comes") {
                Ok(message) => seen.push(Seen {
                    partition: message.partition(),
                    key: text(message.key()),
                    payload: text(message.payload()),
                    headers: message.headers().map_or_else(BTreeMap::new, |headers| {
                        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
                    }),
                }),
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => eprintln!("a consumer waits: {error}"),
            }
        }
        seen
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
