//! `tidemill state list`.

use serde_json::{Value, json};
use tidemill_state::{LocalStore, Manifest, Shape, StateEntry, StateSize, catalogue, count};

use crate::args::Epoch;
use crate::checkpoints::{choose, whole};
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report::{self, size, table};
use crate::scratch::scratch;

pub fn run(store: &LocalStore, epoch: Epoch, counts: bool, json: bool) -> Result<String, Failure> {
    let all = catalogue(store)?;
    let manifest = whole(choose(&all, epoch)?)?;
    let sizes = if counts {
        let _shown = spinner("counting rows");
        count(store, manifest, scratch()?.path())?
    } else {
        Vec::new()
    };
    // Without counting no state has a size.
    let states = || manifest.states.iter().zip(sizes.iter().map(Some).chain(std::iter::repeat(None)));
    if json {
        let states: Vec<Value> = states().map(|(state, size)| document(state, size)).collect();
        let Manifest { job, epoch, key_groups, workers, .. } = manifest;
        let document = json!({
            "job": job, "epoch": epoch, "key_groups": key_groups, "workers": workers.len(), "states": states,
        });
        return Ok(report::json(&document)?);
    }
    let rows: Vec<Vec<String>> = states().map(|(state, size)| row(state, size)).collect();
    let mut head = vec!["OPERATOR", "STATE", "KIND", "VERSION"];
    if counts {
        head.extend(["ROWS", "SIZE", "KEY GROUPS", "WORKERS"]);
    }
    head.extend(["KEY", "VALUE"]);
    let Manifest { job, epoch, key_groups, workers, .. } = manifest;
    let title = format!("epoch {epoch} of job \"{job}\", {key_groups} key groups, {} workers\n\n", workers.len());
    Ok(title + &table(&head, &rows))
}

fn parts(of: &StateEntry) -> (&str, &str) {
    of.name.split_once('/').unwrap_or(("", &of.name))
}

fn shapes(of: &StateEntry) -> [Option<&Shape>; 2] {
    let layout = of.layout.as_ref();
    [layout.and_then(|layout| layout.key.as_ref()), layout.and_then(|layout| layout.value.as_ref())]
}

fn row(of: &StateEntry, sized: Option<&StateSize>) -> Vec<String> {
    let (operator, state) = parts(of);
    let mut row = vec![operator.to_owned(), state.to_owned(), of.kind.clone(), of.version.to_string()];
    if let Some(StateSize { rows, bytes, key_groups, workers }) = sized {
        row.extend([rows.to_string(), size(*bytes), key_groups.to_string(), workers.to_string()]);
    }
    row.extend(shapes(of).map(|shape| shape.map_or_else(String::new, ToString::to_string)));
    row
}

fn document(of: &StateEntry, sized: Option<&StateSize>) -> Value {
    let (operator, state) = parts(of);
    let [key, value] = shapes(of).map(|shape| shape.map(ToString::to_string));
    let mut document = json!({
        "name": of.name, "operator": operator, "state": state, "kind": of.kind, "version": of.version, "key": key,
        "value": value,
    });
    if let (Some(fields), Ok(Value::Object(sizes))) = (document.as_object_mut(), serde_json::to_value(sized)) {
        fields.extend(sizes);
    }
    document
}
