//! `kafka://host:port/topic`: where a topic is, in one text.

use std::fmt;
use std::str::FromStr;

use tidemill_engine::ErrorKind;

use super::client::Connection;

/// A topic and the cluster it is on: `kafka://host:port[,host:port…]/topic[?property=value&…]`.
///
/// Properties with a dot are librdkafka's (`security.protocol=SASL_SSL`); those without one are options of Tidemill,
/// and the code that takes the URL decides which ones it accepts ([`only`](Self::only)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaUrl {
    /// The cluster, with the properties that have a dot.
    pub connection: Connection,
    /// The topic.
    pub topic: String,
    /// Properties without a dot.
    pub options: Vec<(String, String)>,
}

/// The error of a text that should be a [`KafkaUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\": {reason}; it should look like kafka://127.0.0.1:9092/topic")]
pub struct KafkaUrlError {
    text: String,
    reason: String,
}

impl KafkaUrlError {
    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl KafkaUrl {
    /// Returns whether a text is meant to be a Kafka URL.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Returns the value of the option `name`, if it is given.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Checks that every option is among `known`.
    ///
    /// # Errors
    /// When an option is not among `known`. The error names the option and the known ones.
    pub fn only(&self, known: &[&str]) -> Result<(), KafkaUrlError> {
        match self.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(KafkaUrlError {
                text: self.to_string(),
                reason: format!("no option is called \"{key}\" here (there are: {})", known.join(", ")),
            }),
        }
    }
}

const SCHEME: &str = "kafka://";
/// Maximum length of a topic's name in Kafka.
const TOPIC_LENGTH: usize = 249;

impl FromStr for KafkaUrl {
    type Err = KafkaUrlError;

    fn from_str(text: &str) -> Result<Self, KafkaUrlError> {
        parse(text).map_err(|reason| KafkaUrlError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<KafkaUrl, String> {
    let rest = text.strip_prefix(SCHEME).ok_or("it does not begin with kafka://")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (brokers, topic) = place.split_once('/').ok_or("it names no topic")?;
    let brokers = brokers.split(',').map(broker).collect::<Result<Vec<_>, _>>()?;
    let in_topic = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() {
        return Err("it names no topic".to_owned());
    }
    if !topic.chars().all(in_topic) || topic.len() > TOPIC_LENGTH || topic == "." || topic == ".." {
        return Err(format!(
            "\"{topic}\" is not the name of a topic: letters, digits, '.', '_' and '-', at most {TOPIC_LENGTH}"
        ));
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("\"{pair}\" is not property=value"))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    let (properties, options) =
        pairs.collect::<Result<Vec<_>, String>>()?.into_iter().partition(|(key, _)| key.contains('.'));
    Ok(KafkaUrl { connection: Connection { brokers: brokers.join(","), properties }, topic: topic.to_owned(), options })
}

/// Parses `host:port` or `[::1]:port`. The default port is Kafka's.
fn broker(text: &str) -> Result<String, String> {
    let colon = text.rfind(':').filter(|colon| !text[*colon..].contains(']'));
    let (host, port) = colon.map_or((text, "9092"), |colon| (&text[..colon], &text[colon + 1..]));
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) || host.contains(char::is_whitespace) {
        return Err(format!("\"{text}\" is not host:port"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("{host}:{port}")),
        _ => Err(format!("\"{port}\" is not a port (in \"{text}\")")),
    }
}

impl fmt::Display for KafkaUrl {
    /// Writes no properties, because one of them may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.connection.brokers, self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_topic_properties_and_options_are_distinguished() {
        let url: KafkaUrl = "kafka://a:1,[::1]:2,c/my.topic-1?security.protocol=SSL&start=latest".parse().unwrap();
        assert_eq!(url.connection.brokers, "a:1,[::1]:2,c:9092");
        assert_eq!(url.topic, "my.topic-1");
        assert_eq!(url.connection.properties, [("security.protocol".to_owned(), "SSL".to_owned())]);
        assert_eq!(url.option("start"), Some("latest"));
        assert!(url.only(&["start"]).is_ok());
        assert!(url.only(&["group"]).unwrap_err().to_string().contains("\"start\""));
        assert_eq!(url.to_string(), "kafka://a:1,[::1]:2,c:9092/my.topic-1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("http://a/b", "does not begin with kafka://"),
            ("kafka://a:9092", "names no topic"),
            ("kafka://a:9092/", "names no topic"),
            ("kafka://:9092/t", "not host:port"),
            ("kafka:///t", "not host:port"),
            ("kafka://a:b/t", "\"b\" is not a port"),
            ("kafka://a:70000/t", "\"70000\" is not a port"),
            ("kafka://a/b/c", "not the name of a topic"),
            ("kafka://a/b?x", "not property=value"),
        ] {
            let error = text.parse::<KafkaUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
    }
}
