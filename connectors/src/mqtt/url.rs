//! `mqtt://host:port/topic/filter`: where topics are, in one text.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tidemill_engine::ErrorKind;

use super::broker::Broker;

/// Topics and the broker that has them: `mqtt://host[:port]/topic/filter[?option=value&…]`, or `mqtts://` for TLS.
///
/// The options `user`, `password-file`, `password-env` (the name of an environment variable) and `ca` (a file of trusted
/// certificates, PEM) belong to the broker. `qos` may be given, and must be 1. The code that takes the URL decides which
/// others it accepts ([`only`](Self::only)). What `?`, `&` or `%` would be in a topic or value is written as `%3F`, `%26`,
/// `%25`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttUrl {
    /// The broker.
    pub broker: Broker,
    /// The topic filter, or the topic.
    pub topic: String,
    /// The options that do not belong to the broker.
    pub options: Vec<(String, String)>,
}

/// The error of a text that should be an [`MqttUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\": {reason}; it should look like mqtt://127.0.0.1:1883/sensors/#?session=name")]
pub struct MqttUrlError {
    /// The text without its options and its user, which may be secret.
    text: String,
    reason: String,
}

impl MqttUrlError {
    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

const OF_BROKER: [&str; 5] = ["qos", "user", "password-file", "password-env", "ca"];

impl MqttUrl {
    /// Returns whether a text is meant to be a URL of MQTT.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with("mqtt://") || text.starts_with("mqtts://")
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
    pub fn only(&self, known: &[&str]) -> Result<(), MqttUrlError> {
        match self.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                let known = [&OF_BROKER, known].concat().join(", ");
                Err(self.wrong(format!("no option is called \"{key}\" here (there are: {known})")))
            }
        }
    }

    /// Sets what an option stands for, if it is given. `parse` returns what a value should be.
    pub(super) fn set<V>(
        &self,
        name: &str,
        to: &mut V,
        parse: impl FnOnce(&str) -> Result<V, String>,
    ) -> Result<(), MqttUrlError> {
        if let Some(text) = self.option(name) {
            *to = parse(text).map_err(|wanted| self.wrong(format!("{name}={text}: it should be {wanted}")))?;
        }
        Ok(())
    }

    pub(super) fn wrong(&self, reason: String) -> MqttUrlError {
        MqttUrlError { text: self.to_string(), reason }
    }
}

impl FromStr for MqttUrl {
    type Err = MqttUrlError;

    fn from_str(text: &str) -> Result<Self, MqttUrlError> {
        parse(text).map_err(|reason| MqttUrlError { text: shown(text), reason })
    }
}

/// Returns a text as errors show it: without options and without a user.
fn shown(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(a, path)| (a, format!("/{path}")));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn parse(text: &str) -> Result<MqttUrl, String> {
    let (tls, rest) = match text.split_once("://") {
        Some(("mqtt", rest)) => (false, rest),
        Some(("mqtts", rest)) => (true, rest),
        _ => return Err("it does not begin with mqtt:// or mqtts://".to_owned()),
    };
    let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, query)| (place, query));
    let (authority, topic) = place.split_once('/').unwrap_or((place, ""));
    if authority.contains('@') {
        return Err("a user is given by user=, and the password by password-file= or password-env=".to_owned());
    }
    let topic = decoded(topic)?;
    if topic.is_empty() {
        return Err("it names no topic".to_owned());
    }
    let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let default = if tls { "8883" } else { "1883" };
    let (host, port) = colon.map_or((authority, default), |colon| (&authority[..colon], &authority[colon + 1..]));
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) || host.contains(char::is_whitespace) {
        return Err(format!("\"{authority}\" is not host:port"));
    }
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| format!("the port in \"{authority}\" is not one"))?;
    let mut url = MqttUrl { broker: Broker::new(host, port), topic, options: Vec::new() };
    if tls {
        url.broker = url.broker.tls();
    }
    options(&mut url, query)?;
    Ok(url)
}

/// Reads the options, of which some belong to the broker.
fn options(url: &mut MqttUrl, query: &str) -> Result<(), String> {
    let (mut user, mut file, mut variable) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        // The value is not repeated: it may be a password that is in the wrong place.
        let (name, value) = pair.split_once('=').ok_or("an option is not name=value")?;
        let value = decoded(value)?;
        match name {
            "qos" if value == "1" => {}
            "qos" => {
                return Err(format!(
                    "qos={value}: only 1 is possible; QoS 0 loses messages, and 2 has no place for a commit"
                ));
            }
            "user" => user = Some(value),
            "password-file" => file = Some(value),
            "password-env" => variable = Some(value),
            "password" => {
                return Err("a password does not belong in a URL: use password-file= or password-env=".to_owned());
            }
            "ca" if url.broker.tls => url.broker = url.broker.clone().tls_with_ca(value),
            "ca" => return Err("ca= is for mqtts://".to_owned()),
            name => url.options.push((name.to_owned(), value)),
        }
    }
    let broker = url.broker.clone();
    url.broker = match (user, file, variable) {
        (None, None, None) => broker,
        (Some(user), Some(file), None) => broker.user_with_password_file(user, file),
        (Some(user), None, Some(variable)) => broker.user_with_password_variable(user, variable),
        (Some(user), None, None) => broker.user(user, ""),
        (None, ..) => return Err("there is a password and no user=".to_owned()),
        (_, Some(_), Some(_)) => return Err("password-file= and password-env= exclude each other".to_owned()),
    };
    Ok(())
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "what is behind % is not UTF-8".to_owned())
}

impl fmt::Display for MqttUrl {
    /// Writes neither user nor options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.broker, self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_topic_and_options_are_distinguished() {
        let url: MqttUrl = "mqtt://[::1]/sensors/+/#?qos=1&session=fraud&idle-after=5s".parse().unwrap();
        assert_eq!((&url.broker, url.topic.as_str()), (&Broker::new("[::1]", 1883), "sensors/+/#"));
        assert_eq!((url.option("session"), url.option("qos")), (Some("fraud"), None));
        assert!(url.only(&["session", "idle-after"]).is_ok());
        let error = url.only(&["session"]).unwrap_err().to_string();
        assert!(error.contains("\"idle-after\"") && error.contains("qos, user, password-file"), "{error}");
        let url: MqttUrl = "mqtts://b:9/a%3Fb?user=ada&password-env=P%26W".parse().unwrap();
        assert_eq!(url.broker, Broker::new("b", 9).tls().user_with_password_variable("ada", "P&W"));
        assert_eq!(url.to_string(), "mqtts://b:9/a?b");
        assert!(!format!("{url:?}").contains("ada"));
    }

    #[test]
    fn what_is_wrong_is_said_and_secrets_are_not() {
        for (text, reason) in [
            ("http://a/b", "does not begin with mqtt://"),
            ("mqtt://a", "names no topic"),
            ("mqtt://a/", "names no topic"),
            ("mqtt://:1/t", "not host:port"),
            ("mqtt:///t", "not host:port"),
            ("mqtt://a:x/t", "is not one"),
            ("mqtt://a:70000/t", "is not one"),
            ("mqtt://ada:lovelace@a/t", "password-file="),
            ("mqtt://a/t?password=lovelace", "does not belong in a URL"),
            ("mqtt://a/t?lovelace", "not name=value"),
            ("mqtt://a/t?qos=0", "only 1 is possible"),
            ("mqtt://a/t?qos=2", "only 1 is possible"),
            ("mqtt://a/t?password-file=x", "no user="),
            ("mqtt://a/t?user=u&password-file=x&password-env=y", "exclude each other"),
            ("mqtt://a/t?ca=x", "ca= is for mqtts"),
            ("mqtt://a/%FF", "not UTF-8"),
        ] {
            let error = text.parse::<MqttUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("lovelace") && !error.contains("ada:"), "{error}");
        }
    }
}
