//! `tidemill job change` and `tidemill job changes`: operators that are changed while the job runs.

use serde_json::{Map, Value, json};
use tidemill_state::ErrorKind;

use super::client::Client;
use super::gathered::text;
use super::status::failed;
use super::wait::{LOOK, pause};
use crate::args::job::{At, Wanted};
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report::{self, table, time};

/// Asks for a change, and waits until it is decided, and a checkpoint has it.
pub fn run(at: &At, wanted: &Wanted) -> Result<String, Failure> {
    let change = change(&wanted.change).map_err(|fault| Failure::new(ErrorKind::Invalid, fault))?;
    let client = Client::of(at)?;
    let operator = wanted.operator.clone().map_or_else(|| only_operator(&client), Ok)?;
    let body = json!({
        "operator": operator, "change": change, "id": wanted.id, "by": wanted.by,
        "reason": wanted.reason.as_deref().unwrap_or_default(),
    });
    let id = client.post("changes", &body)?["id"].as_str().unwrap_or_default().to_owned();
    if wanted.no_wait {
        return Ok(format!("the change {id} was asked for: see tidemill job changes\n"));
    }
    let _shown = spinner("the job gets ready for the change");
    loop {
        let changes = client.get("changes")?;
        let mut all = changes["changes"].as_array().into_iter().flatten();
        let of = all.find(|change| change["id"] == id.as_str()).cloned().unwrap_or_default();
        if of["state"] == "refused" {
            return Err(Failure::new(ErrorKind::Fenced, format!("the change {id} is refused: {}", text(&of["error"]))));
        }
        // A job without checkpoints commits its epochs as well.
        if of["committed"] == true {
            return Ok(format!("in effect from epoch {} on, as change {id}\n", text(&of["epoch"])));
        }
        let job = client.get("job")?;
        failed(&job).map_or(Ok(()), Err)?;
        if ["stopped", "finished"].iter().any(|ended| job["state"] == *ended) {
            return Err(Failure::new(
                ErrorKind::Unavailable,
                format!("the job has ended before it made the change {id}"),
            ));
        }
        pause(LOOK);
    }
}

/// Lists the changes, the newest first.
pub fn list(at: &At, json: bool) -> Result<String, Failure> {
    let client = Client::of(at)?;
    let changes = client.get("changes")?;
    if json {
        return Ok(report::json(&changes)?);
    }
    let row = |change: &Value| {
        let state = match change["epoch"].as_u64() {
            Some(epoch) if change["committed"] == true => format!("from epoch {epoch} on"),
            Some(epoch) => format!("from epoch {epoch} on, not committed yet"),
            None => text(&change["state"]),
        };
        let why = [&change["error"], &change["reason"]].into_iter().filter_map(Value::as_str);
        let why = why.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        let asked = change["asked_ms"].as_i64().map_or_else(String::new, time);
        vec![asked, text(&change["operator"]), change["change"].to_string(), text(&change["by"]), state, why]
    };
    let rows: Vec<Vec<String>> = changes["changes"].as_array().into_iter().flatten().map(row).collect();
    Ok(table(&["ASKED", "OPERATOR", "CHANGE", "BY", "STATE", "REASON"], &rows))
}

/// Returns the operator of a job that has only one that can be changed.
fn only_operator(client: &Client) -> Result<String, Failure> {
    let models = client.get("models")?;
    let names: Vec<&String> = models["operators"].as_object().into_iter().flat_map(Map::keys).collect();
    match names[..] {
        [name] => Ok(name.clone()),
        [] => Err(Failure::new(ErrorKind::Invalid, "no operator of the job can be changed while it runs")),
        _ => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            let text = format!("name one of the operators with --operator: {}", names.join(", "));
            Err(Failure::new(ErrorKind::Invalid, text))
        }
    }
}

/// Returns the change that words ask for, or JSON.
fn change(words: &[String]) -> Result<Value, String> {
    let share = |text: &str| text.parse::<f64>().map_err(|_| format!("\"{text}\" is no share: write 0.05 for 5 %"));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match words[..] {
        [text] if text.starts_with('{') => {
            serde_json::from_str(text).map_err(|error| format!("the change is no JSON: {error}"))?
        }
        ["switch", model] => json!({ "switch": { "model": model } }),
        ["switch", model, "from", time] => json!({ "switch": { "model": model, "from_event_time": time } }),
        ["canary", model, of] => json!({ "canary": { "model": model, "share": share(of)? } }),
        ["shadow", model] => json!({ "shadow": { "model": model } }),
        ["rollout", model] => json!({ "rollout": { "model": model } }),
        ["rollout", model, settings] => {
            let settings: Value =
                serde_json::from_str(settings).map_err(|e| format!("the settings are no JSON: {e}"))?;
            json!({ "rollout": { "model": model, "settings": settings } })
        }
        ["promote"] => json!({ "promote": {} }),
        ["roll-back"] => json!({ "roll_back": {} }),
        ["suspend"] => json!({ "suspend": true }),
        ["resume"] => json!({ "suspend": false }),
        ["end", what @ ("canary" | "shadow" | "rollout")] => json!({ "end": what }),
        _ => {
            return Err(format!(
                "\"{}\" is no change; write one of: switch MODEL, switch MODEL from TIME, canary MODEL SHARE, shadow MODEL, \
                 rollout MODEL [SETTINGS], promote, roll-back, suspend, resume, end canary|shadow|rollout, or the change as JSON",
                words.join(" ")
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Value, String> {
        change(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_changes_and_json_is_taken_as_it_is() {
        assert_eq!(of("switch fraud/4"), Ok(json!({ "switch": { "model": "fraud/4" } })));
        assert_eq!(
            of("canary fraud@challenger 0.05"),
            Ok(json!({ "canary": { "model": "fraud@challenger", "share": 0.05 } }))
        );
        assert_eq!(of("roll-back"), Ok(json!({ "roll_back": {} })));
        assert_eq!(of("{\"end\":\"canary\"}"), Ok(json!({ "end": "canary" })));
        let rollout = json!({ "rollout": { "model": "fraud", "settings": { "dry_run": true } } });
        assert_eq!(of("rollout fraud {\"dry_run\":true}"), Ok(rollout));
        for wrong in ["switch", "canary fraud", "end", "end world", "explode", "switch a from"] {
            assert!(of(wrong).unwrap_err().contains("is no change; write one of"), "{wrong}");
        }
        assert!(of("canary fraud five").unwrap_err().contains("is no share"));
        assert!(of("{").unwrap_err().contains("is no JSON"));
    }
}
