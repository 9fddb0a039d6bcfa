//! `tidemill checkpoints verify`.

use std::fmt::Write as _;

use tidemill_state::{ErrorKind, Examination, Finding, LocalStore, catalogue, examine};

use super::choice::choose;
use crate::args::{Common, Epoch};
use crate::failure::Failure;
use crate::report::{self, size};

pub fn run(store: &LocalStore, epoch: Option<Epoch>, common: &Common) -> Result<String, Failure> {
    let all = catalogue(store)?;
    let only = epoch.map(|epoch| choose(&all, epoch)).transpose()?.map(|one| one.number);
    let found = examine(store, only)?;
    let output = if common.json { report::json(&found)? } else { text(&found) };
    if found.findings.is_empty() {
        return Ok(output);
    }
    let advice = match found.whole.last() {
        Some(whole) => {
            format!("checkpoint {whole} is whole: bring the files back, or start the job with --restore {whole}")
        }
        None => "no examined checkpoint is whole: bring the files back from a copy".to_owned(),
    };
    let text = format!("{} faults in \"{}\"; {advice}", found.findings.len(), common.store.display());
    Err(Failure { kind: ErrorKind::Data, text, output })
}

fn text(found: &Examination) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    for Finding { file, fault, offset, expected, found, epochs } in &found.findings {
        let at = offset.map_or_else(String::new, |offset| format!(" at byte {offset}"));
        let epochs: Vec<String> = epochs.iter().map(u64::to_string).collect();
        let needed = if epochs.is_empty() { String::new() } else { format!("; epochs {}", epochs.join(", ")) };
        _ = writeln!(text, "{fault}: {file}{at}: expected {expected}, found {found}{needed}");
    }
    for notice in &found.notices {
        _ = writeln!(text, "notice: {}: {}", notice.file, notice.what);
    }
    _ = writeln!(
        text,
        "{} of {} checkpoints are whole ({} files, {} read)",
        found.whole.len(),
        found.checkpoints.len(),
        found.files,
        size(found.bytes)
    );
    text
}
