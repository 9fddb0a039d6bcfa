//! What was found, as tables and as a JSON document.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::cell::json_number;
use super::compare::{Findings, ModelFindings, SideFindings};
use super::counts::{DifferingRow, FeatureCounts};
use super::row::{fields_of_key, show_key};
use crate::args::parity::ParityArgs;
use crate::report::table;

const QUANTILES: [(&str, f64); 7] =
    [("min", 0.0), ("p05", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95), ("max", 1.0)];

pub fn text(asked: &ParityArgs, of: &Findings) -> String {
    let side = |name: &str, path: &std::path::Path, found: &SideFindings| {
        let SideFindings { files, rows, sampled, .. } = found;
        vec![name.to_owned(), rows.to_string(), sampled.to_string(), files.to_string(), path.display().to_string()]
    };
    let sides = [side("served", &asked.served, &of.served), side("recomputed", &asked.recomputed, &of.recomputed)];
    let mut text = table(&["SIDE", "ROWS", "COMPARED", "FILES", "PATH"], &sides);
    // Writing into a String cannot fail.
    _ = writeln!(text, "\n{} matched, {} only served, {} only recomputed", of.matched, of.left_only(), of.right_only);
    for (name, model) in &of.models {
        _ = writeln!(text, "\nmodel {name}: {} rows", model.matched);
        if model.left_only > 0 {
            let keys: Vec<String> = model.first_left_only.iter().map(|key| show_key(&asked.keys, key)).collect();
            let more = if model.left_only > keys.len() as u64 { " …" } else { "" };
            _ = writeln!(text, "{} more were not recomputed: {}{more}", model.left_only, keys.join("; "));
        }
        if model.features.is_empty() {
            continue;
        }
        text += "\n";
        text += &features(model);
        for (feature, counts) in &model.features {
            text += &differing(asked, feature, counts);
        }
    }
    text
}

fn features(of: &ModelFindings) -> String {
    let head = [
        "FEATURE",
        "TOTAL",
        "IDENTICAL",
        "CLOSE",
        "BOTH NULL",
        "LEFT NULL",
        "RIGHT NULL",
        "MISMATCH",
        "SMAPE",
        "MIN",
        "P05",
        "P50",
        "P95",
        "MAX",
    ];
    let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), short);
    let row = |(name, counts): &(String, FeatureCounts)| {
        let FeatureCounts { total, identical, close, both_null, left_null, right_null, mismatch, .. } = counts;
        let whole = [total, identical, close, both_null, left_null, right_null, mismatch].map(ToString::to_string);
        let quantiles = [0.0, 0.05, 0.5, 0.95, 1.0].map(|share| number(counts.quantile(share)));
        [name.clone()].into_iter().chain(whole).chain([number(counts.smape())]).chain(quantiles).collect()
    };
    table(&head, &of.features.iter().map(row).collect::<Vec<_>>())
}

/// Returns a number in few digits: it is for a glance, the JSON document has all of them.
fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e7).contains(&size) {
        let digits = 3 - size.log10().floor() as i32;
        let text = format!("{number:.*}", usize::try_from(digits).unwrap_or_default());
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{number:.3e}")
    }
}

/// Lists the first rows in which a feature differs.
fn differing(asked: &ParityArgs, feature: &str, of: &FeatureCounts) -> String {
    if of.differing() == 0 {
        return String::new();
    }
    let mut text = format!("\n{feature}: {} of {} rows differ", of.differing(), of.total);
    for ((left, right), count) in &of.kinds {
        _ = write!(text, "; {count} times {left} was served, and {right} recomputed");
    }
    let rows: Vec<Vec<String>> = of
        .first
        .iter()
        .map(|row| vec![format!("  {}", show_key(&asked.keys, &row.key)), row.left.to_string(), row.right.to_string()])
        .collect();
    text += "\n";
    if !rows.is_empty() {
        text += &table(&["  KEY", "SERVED", "RECOMPUTED"], &rows);
    }
    text
}

/// Returns the document of `--json`. `docs/operate/command.md` names its fields.
pub fn document(asked: &ParityArgs, of: &Findings, agree: bool) -> Value {
    let Findings { served, recomputed, matched, models, right_only, only_served, only_recomputed, both: _ } = of;
    let models: Vec<Value> = models.iter().map(|(name, model)| model_document(asked, name, model)).collect();
    json!({
        "agree": agree,
        "key": asked.keys,
        "sample": asked.sample.0,
        "tolerance": asked.tolerance.0,
        "served": side_document(asked, &asked.served, served),
        "recomputed": side_document(asked, &asked.recomputed, recomputed),
        "matched": matched,
        "left_only": of.left_only(),
        "right_only": right_only,
        "only_served": only_served,
        "only_recomputed": only_recomputed,
        "models": models,
    })
}

fn side_document(asked: &ParityArgs, path: &std::path::Path, of: &SideFindings) -> Value {
    let SideFindings { files, rows, sampled, repeated, first_repeated } = of;
    let first = first_repeated.as_ref().map(|(place, key)| json!({ "place": place, "key": key_document(asked, key) }));
    json!({
        "path": path, "files": files, "rows": rows, "sampled": sampled, "repeated": repeated, "first_repeated": first,
    })
}

fn model_document(asked: &ParityArgs, name: &str, of: &ModelFindings) -> Value {
    let ModelFindings { matched, left_only, first_left_only, features } = of;
    let first: Vec<Value> = first_left_only.iter().map(|key| key_document(asked, key)).collect();
    let features: Vec<Value> = features.iter().map(|(name, counts)| feature_document(asked, name, counts)).collect();
    json!({ "model": name, "matched": matched, "left_only": left_only, "first_left_only": first, "features": features })
}

fn feature_document(asked: &ParityArgs, name: &str, of: &FeatureCounts) -> Value {
    let kinds: Vec<Value> =
        of.kinds.iter().map(|((left, right), count)| json!({ "left": left, "right": right, "count": count })).collect();
    let quantiles: Option<Map<String, Value>> =
        QUANTILES.iter().map(|(name, share)| Some(((*name).to_owned(), json_number(of.quantile(*share)?)))).collect();
    let row = |row: &DifferingRow| {
        let DifferingRow { key, left, right } = row;
        json!({ "key": key_document(asked, key), "left": left.to_json(), "right": right.to_json() })
    };
    json!({
        "feature": name,
        "total": of.total,
        "identical": of.identical,
        "close": of.close,
        "both_null": of.both_null,
        "left_null": of.left_null,
        "right_null": of.right_null,
        "mismatch": of.mismatch,
        "mismatch_kinds": kinds,
        "smape": of.smape(),
        "left_minus_right": quantiles,
        "rows": of.first.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Returns the fields of a key. Their values are texts, as they were compared.
fn key_document(asked: &ParityArgs, key: &str) -> Value {
    fields_of_key(&asked.keys, key)
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Value::from(text)))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_tables_are_short() {
        assert_eq!(
            [0.0, 0.5, -12.0, 1234.5678, 1e-9, 123_456.7].map(short),
            ["0", "0.5", "-12", "1235", "1.000e-9", "123457"]
        );
        assert_eq!([0.000_123_46, f64::INFINITY].map(short), ["0.0001235", "inf"]);
    }
}
