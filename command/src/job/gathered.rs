//! The job as all of its processes see it.

use serde_json::{Value, json};

use super::client::Client;
use crate::failure::Failure;

/// A job, its operators, and its processes if there are several.
pub struct Gathered {
    pub job: Value,
    pub operators: Vec<Value>,
    pub processes: Vec<Value>,
}

impl Gathered {
    pub fn read(client: &Client) -> Result<Self, Failure> {
        let job = client.get("job")?;
        let mut answer = if has_several(&job) {
            client.get("cluster")?
        } else {
            let operators = client.get("operators")?["operators"].take();
            json!({ "job": job, "operators": operators })
        };
        Ok(Self {
            job: answer["job"].take(),
            operators: list(answer["operators"].take()),
            processes: list(answer["processes"].take()),
        })
    }

    /// Returns which processes do not answer, in words.
    pub fn silent(&self) -> Vec<String> {
        let silent = self.processes.iter().filter(|process| process["state"] != "answers");
        let words = |process: &Value| {
            format!(
                "process {} does not answer, numbers are without it: {}",
                process["process"],
                text(&process["problem"])
            )
        };
        silent.map(words).collect()
    }
}

/// Returns whether a job has several processes.
pub fn has_several(job: &Value) -> bool {
    job["processes"].as_u64() > Some(1)
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Returns a text of the API, or a dash for what is not known.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
