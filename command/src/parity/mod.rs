//! `tidemill parity`: whether features as they were served are those that history gives.
//! ```text
//! files ─▶ lines (JSON), columns (Parquet) ─▶ rows of the sample ─▶ compare ─▶ counts ─▶ text or JSON
//! ```

mod cell;
#[cfg(feature = "parquet")]
mod columns;
mod compare;
mod counts;
mod files;
mod lines;
mod output;
mod row;
mod sample;
mod values;

use tidemill_state::ErrorKind;

use self::compare::{Findings, compare};
use self::counts::Strictness;
use self::files::Files;
use self::row::{Wanted, show_key};
use crate::args::parity::ParityArgs;
use crate::failure::Failure;
use crate::progress::spinner;
use crate::report;

/// Compares, and returns what goes to stdout.
pub fn run(asked: &ParityArgs) -> Result<String, Failure> {
    if let Some(key) = asked.keys.iter().enumerate().find_map(|(at, key)| asked.keys[..at].contains(key).then_some(key))
    {
        return Err(Failure::new(ErrorKind::Invalid, format!("--key names \"{key}\" twice")));
    }
    let wanted = Wanted { keys: &asked.keys, sample: asked.sample };
    let strictness = Strictness { tolerance: asked.tolerance.0, rows: asked.rows };
    let (served, recomputed) = (Files::at(&asked.served)?, Files::at(&asked.recomputed)?);
    let shown = spinner("comparing features");
    let findings = compare([&served, &recomputed], wanted, &asked.features, strictness)?;
    drop(shown);
    let failure = undecided(asked, &findings).or_else(|| difference(asked, &findings));
    let output = if asked.json {
        report::json(&output::document(asked, &findings, failure.is_none()))?
    } else {
        output::text(asked, &findings)
    };
    failure.map_or(Ok(output.clone()), |failure| Err(Failure { output, ..failure }))
}

/// Says why it cannot be known whether the sides agree. All reasons at once: each may explain another.
fn undecided(asked: &ParityArgs, of: &Findings) -> Option<Failure> {
    let mut reasons = Vec::new();
    for (side, found) in [("served", &of.served), ("recomputed", &of.recomputed)] {
        if let Some((place, key)) = &found.first_repeated {
            reasons.push(format!(
                "{} {side} rows have the key of an earlier one, the first at {place}: {}; \
                 name more fields with --key if they are not copies",
                found.repeated,
                show_key(&asked.keys, key)
            ));
        }
    }
    if !of.only_served.is_empty() || !of.only_recomputed.is_empty() {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        reasons.push(format!(
            "features that were only served: {}; only recomputed: {}; both sides have {}; choose with --feature which are compared",
            list(&of.only_served),
            list(&of.only_recomputed),
            list(&of.both)
        ));
    }
    if !reasons.is_empty() {
        return Some(Failure::new(ErrorKind::Data, reasons.join("\nerror: ")));
    }
    let rows = of.served.rows;
    match (rows, of.served.sampled) {
        (0, _) => Some(Failure::new(ErrorKind::Data, format!("\"{}\" has no rows", asked.served.display()))),
        (_, 0) => {
            let text = format!("none of the {rows} served rows is in the sample: give a larger --sample");
            Some(Failure::new(ErrorKind::Invalid, text))
        }
        _ if of.matched > 0 && of.both.is_empty() => {
            Some(Failure::new(ErrorKind::Data, "the rows have no features".to_owned()))
        }
        _ => None,
    }
}

/// Says that the sides do not agree. Like a job that has failed, this ends with 1.
fn difference(asked: &ParityArgs, of: &Findings) -> Option<Failure> {
    let (differing, left_only) = (of.differing(), of.left_only());
    let mut reasons = Vec::new();
    if differing > 0 {
        let features = of.models.values().flat_map(|model| &model.features);
        let mut names: Vec<&str> =
            features.filter(|(_, counts)| counts.differing() > 0).map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        reasons.push(format!("{differing} values differ, of {}", names.join(", ")));
    }
    if left_only > 0 {
        reasons.push(format!("{left_only} served rows were not recomputed"));
    }
    if asked.strict && of.right_only > 0 {
        reasons.push(format!("{} recomputed rows were not served", of.right_only));
    }
    let text = format!("training and serving do not agree: {}", reasons.join("; "));
    (!reasons.is_empty()).then(|| Failure::new(ErrorKind::Internal, text))
}
