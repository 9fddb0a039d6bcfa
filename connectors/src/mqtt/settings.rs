//! The settings of MQTT sources, which their builder fills in.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::broker::Broker;
use crate::malformed::MaxMalformed;

/// What happens when the broker no longer has the session by which a source reads: it expired, or the broker lost its
/// memory. What waited in the session is gone, and the broker cannot say what that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LostSession {
    /// The job stops, and each start is refused until this is changed.
    #[default]
    Refuse,
    /// The loss is logged and counted, and reading goes on with what is published from then on.
    Accept,
}

/// Longest name of a session: client ids of 65,535 bytes are allowed, and no broker needs to take them.
const NAME: usize = 200;
/// Shortest interval of pings that the client library allows.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The settings of an [`MqttSource`](super::MqttSource).
#[derive(Clone)]
pub(super) struct SourceSettings {
    pub(super) broker: Broker,
    pub(super) topic: String,
    pub(super) session: String,
    pub(super) shared: bool,
    pub(super) session_expiry: Duration,
    pub(super) receive_maximum: u16,
    pub(super) keep_alive: Duration,
    pub(super) patience: Duration,
    pub(super) lost_session: LostSession,
    pub(super) max_queued_bytes: usize,
    pub(super) max_out_of_orderness: Duration,
    pub(super) idle_after: Duration,
    pub(super) max_malformed: MaxMalformed,
    pub(super) lead: Duration,
    pub(super) max_ahead: Option<Duration>,
}

impl SourceSettings {
    /// Refuses impossible settings before the broker is asked.
    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        let refuse = |why: String| Err(ConnectorError::new(ErrorKind::Invalid, why));
        let Self { topic, session, .. } = self;
        if let Some(why) = wrong_filter(topic) {
            return refuse(format!("topic filter \"{topic}\": {why}"));
        }
        if session.is_empty() || session.len() > NAME || session.contains(['/', '+', '#', '\0']) {
            return refuse(format!("session \"{session}\": it needs a name of 1 to {NAME} bytes without /, + and #"));
        }
        if self.receive_maximum == 0 {
            return refuse(format!("receive_maximum of {topic} is 0: the broker could send nothing"));
        }
        if self.keep_alive < KEEP_ALIVE || self.keep_alive.as_secs() > u16::MAX.into() {
            let keep_alive = self.keep_alive;
            return refuse(format!("keep_alive of {topic} is {keep_alive:?}: it must be 5 s to 65,535 s"));
        }
        if self.session_expiry.as_secs() == 0 {
            return refuse(format!("session_expiry of {topic} is below 1 s: no session would outlive its connection"));
        }
        Ok(())
    }

    /// Returns the filter by which sessions subscribe.
    pub(super) fn filter(&self) -> String {
        if self.shared { format!("$share/{}/{}", self.session, self.topic) } else { self.topic.clone() }
    }

    /// Returns the client id of a session.
    pub(super) fn client(&self, number: usize) -> String {
        format!("{}-{number}", self.session)
    }
}

/// Returns what is wrong with a topic filter.
fn wrong_filter(filter: &str) -> Option<&'static str> {
    if filter.is_empty() {
        return Some("it is empty");
    }
    if filter.len() > usize::from(u16::MAX) - 2 * NAME || filter.contains('\0') {
        return Some("it is too long, or has a null character");
    }
    if filter.starts_with("$share/") {
        return Some("it must not be shared already: the source shares it among its workers");
    }
    let levels: Vec<&str> = filter.split('/').collect();
    let (last, before) = levels.split_last()?;
    let is_misplaced = |level: &str| level.contains('#') || (level.contains('+') && level != "+");
    if before.iter().any(|level| is_misplaced(level)) || (*last != "#" && is_misplaced(last)) {
        return Some("+ must be a whole level, and # the whole last level");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_brokers_would_refuse_are_refused_first() {
        for good in ["a", "#", "+", "a/b/#", "+/b/+", "/a", "a//b", "$SYS/#", "a b/ü"] {
            assert_eq!(wrong_filter(good), None, "{good}");
        }
        for bad in ["", "a#", "a/#/b", "#/a", "a+/b", "a/+b", "$share/g/a", "a\0"] {
            assert!(wrong_filter(bad).is_some(), "{bad}");
        }
    }
}
