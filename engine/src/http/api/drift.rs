//! `/api/v1/drift`: the last window of each version that an operator has compared with its training data.

use serde::{Deserialize, Serialize};

use crate::board::Findings;
use crate::http::shown::Shown;

/// The topic under which operators of drift show what they have found.
const TOPIC: &str = "drift";

#[derive(Serialize, Deserialize)]
pub(in crate::http) struct Drift {
    operators: Findings,
}

pub(in crate::http) fn drift(shown: &Shown) -> Drift {
    Drift { operators: shown.watched.process.boards.findings(TOPIC) }
}

impl Drift {
    /// Adds what another process says. The windows of a version are all compared on one worker.
    pub(in crate::http) fn add(&mut self, other: Self) {
        for (operator, parts) in other.operators {
            let own = self.operators.entry(operator).or_default();
            parts.into_iter().for_each(|(part, finding)| _ = own.entry(part).or_insert(finding));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn versions_of_all_processes_are_together() {
        let of = |operators: serde_json::Value| from_value::<Drift>(json!({ "operators": operators })).unwrap();
        let mut whole = of(json!({ "drift": { "m/1": 1 }, "other": {} }));
        whole.add(of(json!({ "drift": { "m/2": 2, "m/1": 3 }, "third": { "n/1": 4 } })));
        let expected = json!({ "drift": { "m/1": 1, "m/2": 2 }, "other": {}, "third": { "n/1": 4 } });
        assert_eq!(to_value(&whole).unwrap(), json!({ "operators": expected }));
    }
}
