//! Writes an example's input, simulated or from CSV files, to a CSV file.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill::prelude::*;

pub fn to_csv<R: Serialize>(path: &Path, records: impl Iterator<Item = R>) -> Result<(), JobError> {
    let failed = |e: &dyn std::fmt::Display| JobError::Invalid(format!("cannot write \"{}\": {e}", path.display()));
    let mut writer = csv::Writer::from_path(path).map_err(|e| failed(&e))?;
    for record in records {
        writer.serialize(record).map_err(|e| failed(&e))?;
    }
    writer.flush().map_err(|e| failed(&e))
}

/// Reads the rows of .csv and .csv.gz files.
pub fn from_csv<R: DeserializeOwned>(paths: &[PathBuf]) -> Result<Vec<R>, JobError> {
    let mut rows = Vec::new();
    for path in paths {
        let failed = |e: &dyn std::fmt::Display| JobError::Invalid(format!("cannot read \"{}\": {e}", path.display()));
        let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
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
