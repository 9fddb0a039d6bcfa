//! The position of an MQTT source in each epoch: the sessions that a worker reads, and what was handed out of each and is not
//! known to be acknowledged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use crate::position::{self, Position};

/// Bits of a fingerprint.
const BITS: u32 = 48;

/// What a checkpoint has of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionPosition {
    /// The number behind the last message that was handed out, since the start of the run.
    pub(super) handed_out: u64,
    /// The watermark, event time in ms.
    pub(super) watermark: i64,
    /// The time since which nothing came, by the job's clock, in microseconds.
    pub(super) quiet_since: u64,
    /// The messages that were handed out and are not known to be acknowledged: packet id and fingerprint in one number,
    /// because there may be 65,535 of them in each epoch.
    unacknowledged: Vec<u64>,
}

impl SessionPosition {
    pub(super) fn new(handed_out: u64, watermark: i64, quiet_since: u64, unacknowledged: &[(u16, u64)]) -> Self {
        let pack = |(id, fingerprint): &(u16, u64)| u64::from(*id) << BITS | fingerprint & ((1 << BITS) - 1);
        Self { handed_out, watermark, quiet_since, unacknowledged: unacknowledged.iter().map(pack).collect() }
    }

    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.unacknowledged.iter().map(|packed| ((packed >> BITS) as u16, packed & ((1 << BITS) - 1)))
    }
}

/// What the checkpoint has of the sessions, by their number.
pub(super) type Sessions = BTreeMap<usize, SessionPosition>;

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    /// The name from which those of the sessions are made.
    pub(super) session: String,
    /// What the sessions have subscribed to, with the name of the share if they share it. A session that subscribed to both would
    /// get each message twice.
    pub(super) filter: String,
    pub(super) sessions: Sessions,
}

impl Position for Stored {
    const VERSION: u8 = 1;
    const OF: &'static str = "an MQTT source's";
}

/// How far each session was handed out: all that a commit has to know.
#[derive(Serialize, Deserialize)]
pub(super) struct Ends {
    sessions: BTreeMap<usize, End>,
}

#[derive(Serialize, Deserialize)]
struct End {
    handed_out: u64,
}

impl Position for Ends {
    const VERSION: u8 = Stored::VERSION;
    const OF: &'static str = Stored::OF;
}

impl Ends {
    pub(super) fn of(bytes: &[u8]) -> Result<impl Iterator<Item = (usize, u64)>, ConnectorError> {
        let Self { sessions } = position::decode(bytes)?;
        Ok(sessions.into_iter().map(|(number, end)| (number, end.handed_out)))
    }
}

/// Merges the positions of all workers of the restored run, which must have read the same topic by the same session.
pub(super) fn merge(positions: &[Vec<u8>], session: &str, filter: &str) -> Result<Sessions, ConnectorError> {
    let mut sessions = Sessions::new();
    for bytes in positions {
        let stored: Stored = position::decode(bytes)?;
        for (what, stored, now) in [("session", &stored.session, session), ("subscription", &stored.filter, filter)] {
            if stored != now {
                let message = format!(
                    "the checkpoint was reading by {what} \"{stored}\", and this run reads by {what} \"{now}\": \
                     messages that wait for the old one would be lost, or come twice; name the same one, or start over in an empty \
                     checkpoint directory with a session of another name"
                );
                return Err(ConnectorError::new(ErrorKind::Invalid, message));
            }
        }
        for (number, position) in stored.sessions {
            if sessions.insert(number, position).is_some() {
                let message =
                    format!("the checkpoint has two positions for session {number} of \"{session}\"; it is damaged");
                return Err(ConnectorError::new(ErrorKind::Data, message));
            }
        }
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(numbers: &[usize], filter: &str) -> Vec<u8> {
        let of = |number: &usize| {
            (*number, SessionPosition::new(7 + *number as u64, -3, 9, &[(u16::MAX, (1 << BITS) - 1), (1, 0)]))
        };
        let sessions = numbers.iter().map(of).collect();
        position::encode(&Stored { session: "s".to_owned(), filter: filter.to_owned(), sessions }).unwrap()
    }

    #[test]
    fn sessions_of_all_workers_are_merged_and_their_messages_kept() {
        let merged = merge(&[stored(&[0, 2], "t/#"), stored(&[1], "t/#")], "s", "t/#").unwrap();
        assert_eq!(merged.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        let messages: Vec<_> = merged[&2].unacknowledged().collect();
        assert_eq!(messages, [(u16::MAX, (1 << BITS) - 1), (1, 0)]);
        let ends: Vec<_> = Ends::of(&stored(&[0, 2], "t/#")).unwrap().collect();
        assert_eq!(ends, [(0, 7), (2, 9)]);
    }

    #[test]
    fn another_topic_a_session_twice_and_a_foreign_position_are_errors() {
        let error = merge(&[stored(&[0], "t/#")], "s", "u/#").unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("\"t/#\""), "{error}");
        let error = merge(&[stored(&[0], "t/#")], "other", "t/#").unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("\"other\""), "{error}");
        let error = merge(&[stored(&[0], "t"), stored(&[0], "t")], "s", "t").unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains("two positions"), "{error}");
        assert_eq!(merge(&[b"{}".to_vec()], "s", "t").unwrap_err().kind(), ErrorKind::Data);
    }
}
