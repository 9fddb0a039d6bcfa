//! `/api/v1/inference`: the operators that run a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::add_each;
use super::operators::slower;
use crate::metrics::{OperatorSnapshot, Percentiles, Snapshot};

#[derive(Serialize, Deserialize)]
pub(in crate::http) struct Inference {
    models: Vec<Model>,
}

/// Fields are absent where nothing is known.
#[derive(Serialize, Deserialize)]
struct Model {
    operator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<Percentiles>,
    /// Records that wait for a batch or a thread, or are scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<i64>,
    failures: BTreeMap<String, u64>,
    fallbacks: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<Circuit>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Circuit {
    Closed,
    Open,
}

pub(in crate::http) fn inference(snapshot: &Snapshot) -> Inference {
    // An operator that scores counts what it scored; lookups are of the same kind and do not.
    let models = snapshot.operators.iter().filter(|operator| operator.counters.contains_key("scored"));
    Inference { models: models.map(Model::of).collect() }
}

impl Model {
    fn of(operator: &OperatorSnapshot) -> Self {
        let counts = |names: &[&str]| {
            let known = names.iter().filter_map(|name| Some(((*name).to_owned(), *operator.counters.get(*name)?)));
            known.collect::<BTreeMap<_, _>>()
        };
        let detail = |name: &str| operator.details.get(name).and_then(|values| values.first());
        let of_model = |field: &str| detail("model")?.get(field)?.as_str().map(str::to_owned);
        Self {
            operator: operator.name.clone(),
            name: of_model("name"),
            hash: of_model("hash"),
            backend: detail("engine")
                .map(|engine| engine.as_str().map_or_else(|| Value::to_string(engine), str::to_owned)),
            batch_size: operator.distributions.get("batch_size_records").copied(),
            queue: operator.queue(),
            failures: counts(&["server_failures", "not_finite", "dead_letters"]),
            fallbacks: counts(&["fallbacks", "defaults"]),
            // Added up over the workers, each of which has a circuit of its own.
            circuit: operator
                .gauges
                .get("circuit_open")
                .map(|open| if *open > 0 { Circuit::Open } else { Circuit::Closed }),
        }
    }

    /// Adds what another process says of the same operator: the circuit is open if one of theirs is.
    fn add(&mut self, other: Self) {
        self.batch_size = self.batch_size.into_iter().chain(other.batch_size).reduce(slower);
        self.queue = self.queue.into_iter().chain(other.queue).reduce(|own, other| own + other);
        other.failures.into_iter().for_each(|(name, count)| *self.failures.entry(name).or_default() += count);
        other.fallbacks.into_iter().for_each(|(name, count)| *self.fallbacks.entry(name).or_default() += count);
        self.circuit = self.circuit.max(other.circuit);
    }
}

impl Inference {
    /// Adds what another process says.
    pub(in crate::http) fn add(&mut self, other: Self) {
        add_each(&mut self.models, other.models, |a, b| a.operator == b.operator, Model::add);
    }
}
