//! The position of a source in a checkpoint, as JSON with a version: a position of a later version or of another source
//! is an error that says so, whatever else it contains.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

/// The position of one worker's share of a source. All versions from the first to this one can be read.
pub(crate) trait Position: Serialize + DeserializeOwned {
    /// The version in which positions are written.
    const VERSION: u8;
    /// The kind of source, for messages.
    const OF: &'static str;
}

#[derive(Serialize)]
struct Versioned<'a, P> {
    version: u8,
    #[serde(flatten)]
    position: &'a P,
}

/// The version, which is read first, because the rest of another version may be anything.
#[derive(Deserialize)]
struct Head {
    version: u8,
}

pub(crate) fn encode<P: Position>(position: &P) -> Result<Vec<u8>, ConnectorError> {
    serde_json::to_vec(&Versioned { version: P::VERSION, position })
        .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "the position cannot be encoded", e))
}

pub(crate) fn decode<P: Position>(bytes: &[u8]) -> Result<P, ConnectorError> {
    let not_this = |e| {
        let what = format!("the position in the checkpoint is not {}", P::OF);
        ConnectorError::caused(ErrorKind::Data, what, e)
    };
    let Head { version } = serde_json::from_slice(bytes).map_err(not_this)?;
    if version == 0 || version > P::VERSION {
        let known = P::VERSION;
        let what = format!("the position in the checkpoint is of version {version}, this build reads up to {known}");
        return Err(ConnectorError::new(ErrorKind::Data, what));
    }
    serde_json::from_slice(bytes).map_err(not_this)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Noted {
        next: u64,
    }

    impl Position for Noted {
        const VERSION: u8 = 3;
        const OF: &'static str = "this source's";
    }

    #[test]
    fn a_stored_position_is_read_and_another_sources_is_an_error() {
        let noted = Noted { next: u64::MAX };
        assert_eq!(decode::<Noted>(&encode(&noted).unwrap()).unwrap(), noted);
        assert_eq!(decode::<Noted>(br#"{"version":1,"next":4}"#).unwrap(), Noted { next: 4 });
        for (bytes, reason) in [
            (&b""[..], "not this source's"),
            (br#"{"next":4}"#, "not this source's"),
            (br#"{"version":3,"last":4}"#, "not this source's"),
            (br#"{"version":0,"next":4}"#, "of version 0"),
            (br#"{"version":4,"last":4}"#, "of version 4, this build reads up to 3"),
        ] {
            let error = decode::<Noted>(bytes).unwrap_err();
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(reason), "{error}");
        }
    }
}
