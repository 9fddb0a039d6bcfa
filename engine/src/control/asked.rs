//! A request of a program: a line of a control file, or a message of a control topic.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::described;

/// A request to change an operator while the job runs, as a line of a control file or a message of a control topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Identifier of the change. A request whose identifier the control log has already is not made again, so a source
    /// may be read twice.
    pub id: String,
    /// Name of the operator.
    pub operator: String,
    /// The change, as the operator understands it.
    #[serde(with = "described")]
    pub change: Value,
    /// Who asks for it.
    #[serde(default)]
    pub by: String,
    /// The reason for it.
    #[serde(default)]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use tidemill_state::{decode_message, encode_message};

    use super::*;

    #[test]
    fn a_request_is_a_line_of_json_and_a_message_between_workers() {
        let line = r#"{"id":"7","operator":"score","change":{"switch":{"model":"fraud/3"}},"by":"","reason":""}"#;
        let request: ChangeRequest = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        let mut message = Vec::new();
        encode_message(&request, &mut message).unwrap();
        assert_eq!(decode_message::<ChangeRequest>(&message).unwrap(), request);
    }
}
