//! `tidemill checkpoints verify`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidemill_state::{Catalogued, ErrorKind, Examination, LocalStore, WorkerEntry, catalogue, examine};

use super::choice::choose;
use crate::args::{Common, Epoch};
use crate::failure::Failure;
use crate::progress::Counted;
use crate::report::{self, size};

pub fn run(store: &LocalStore, epoch: Option<Epoch>, common: &Common) -> Result<String, Failure> {
    let all = catalogue(store)?;
    let only = epoch.map(|epoch| choose(&all, epoch)).transpose()?.map(|one| one.number);
    let examined = all.iter().filter(|one| only.is_none_or(|only| one.number == only));
    let counted = Counted::new(store, bytes_to_read(examined));
    let found = examine(&counted, only)?;
    drop(counted);
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

/// Returns the size of the files that some checkpoints name, each counted once.
fn bytes_to_read<'c>(all: impl Iterator<Item = &'c Catalogued>) -> u64 {
    let workers = all.filter_map(Catalogued::manifest).flat_map(|manifest| &manifest.workers);
    let files: BTreeMap<_, _> = workers.flat_map(WorkerEntry::files).map(|file| (file.name, file.len)).collect();
    files.values().sum()
}

fn text(found: &Examination) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    for finding in &found.findings {
        let epochs: Vec<String> = finding.epochs.iter().map(u64::to_string).collect();
        let needed = if epochs.is_empty() { String::new() } else { format!("; epochs {}", epochs.join(", ")) };
        _ = writeln!(text, "{finding}{needed}");
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
