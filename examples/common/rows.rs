//! Writes an example's input, simulated or from CSV files, to a file of CSV or of JSON lines.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill::prelude::*;

/// Writes records in the format that the file's extension names.
pub fn to_file<R: Serialize>(path: &Path, records: impl Iterator<Item = R>) -> Result<(), JobError> {
    let failed = |e: &dyn std::fmt::Display| JobError::Invalid(format!("cannot write \"{}\": {e}", path.display()));
    let file = || File::create(path).map_err(|e| failed(&e));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => {
            let mut writer = csv::Writer::from_writer(file()?);
            for record in records {
                writer.serialize(record).map_err(|e| failed(&e))?;
            }
            writer.flush().map_err(|e| failed(&e))
        }
        Some("jsonl") => {
            let mut writer = BufWriter::new(file()?);
            for record in records {
                serde_json::to_writer(&mut writer, &record).map_err(|e| failed(&e))?;
                writer.write_all(b"\n").map_err(|e| failed(&e))?;
            }
            writer.flush().map_err(|e| failed(&e))
        }
        _ => Err(failed(&"its name must end with .csv or .jsonl")),
    }
}

/// Reads the rows of .csv and .csv.gz files.
pub fn from_csv<R: DeserializeOwned>(paths: &[PathBuf]) -> Result<Vec<R>, JobError> {
    let mut rows = Vec::new();
    for path in paths {
        let failed = |e: &dyn std::fmt::Display| JobError::Invalid(format!("cannot read \"{}\": {e}", path.display()));
        let file = File::open(path).map_err(|e| failed(&e))?;
        let gzipped = path.extension().is_some_and(|extension| extension == "gz");
        let bytes: Box<dyn Read> =
            if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut reader = csv::Reader::from_reader(bytes);
        for row in reader.deserialize() {
            rows.push(row.map_err(|e| failed(&e))?);
        }
    }
    Ok(rows)
}
