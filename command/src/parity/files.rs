//! The files of a side, and in which format each is.

use std::fs;
use std::path::{Path, PathBuf};

use tidemill_state::ErrorKind;

#[cfg(feature = "parquet")]
use super::columns;
use super::lines;
use super::row::{Names, Visit, Wanted, unreadable};
use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileFormat {
    Lines,
    CompressedLines,
    Parquet,
}

/// The files of a side, in the order of their names.
#[derive(Debug)]
pub struct Files(Vec<(PathBuf, FileFormat)>);

impl Files {
    /// Returns the file at a path, or those in the folder there. Hidden files, as those that a sink still writes, and names
    /// that begin with `_`, as markers of Spark, are left out; whatever else is not read is an error.
    pub fn at(path: &Path) -> Result<Self, Failure> {
        let kind = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !kind.is_dir() {
            return Ok(Self(vec![(path.to_owned(), format_of(path)?)]));
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
            let found = entry.map_err(|error| unreadable(path, &error))?.path();
            let name = found.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(['.', '_']) {
                continue;
            }
            files.push((found.clone(), format_of(&found)?));
        }
        if files.is_empty() {
            let text = format!("the folder \"{}\" has no file of .jsonl, .jsonl.gz or .parquet", path.display());
            return Err(Failure::new(ErrorKind::Invalid, text));
        }
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self(files))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives the rows of the sample to `visit`, and returns how many rows there are. Of files without a field `features`,
    /// only `columns` are read, if they are given.
    pub fn read(
        &self,
        wanted: &Wanted<'_>,
        names: &mut Names,
        columns: Option<&[String]>,
        visit: Visit<'_>,
    ) -> Result<u64, Failure> {
        let mut rows = 0;
        for (path, format) in &self.0 {
            rows += match format {
                FileFormat::Lines => lines::read(path, false, wanted, names, visit)?,
                FileFormat::CompressedLines => lines::read(path, true, wanted, names, visit)?,
                #[cfg(feature = "parquet")]
                FileFormat::Parquet => columns::read(path, wanted, names, columns, visit)?,
                #[cfg(not(feature = "parquet"))]
                FileFormat::Parquet => {
                    _ = columns;
                    let text = format!(
                        "\"{}\" is Parquet, which this command was built without: cargo install --path command --features parquet",
                        path.display()
                    );
                    return Err(Failure::new(ErrorKind::Invalid, text));
                }
            };
        }
        Ok(rows)
    }
}

fn format_of(path: &Path) -> Result<FileFormat, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_lines = |name: &str| [".jsonl", ".ndjson", ".json"].iter().any(|ending| name.ends_with(ending));
    match name.strip_suffix(".gz") {
        _ if path.is_dir() => {}
        Some(name) if is_lines(name) => return Ok(FileFormat::CompressedLines),
        None if is_lines(&name) => return Ok(FileFormat::Lines),
        None if name.ends_with(".parquet") => return Ok(FileFormat::Parquet),
        _ => {}
    }
    let text = format!(
        "\"{}\" is not read: name files of .jsonl, .jsonl.gz or .parquet, or a folder that has only such files",
        path.display()
    );
    Err(Failure::new(ErrorKind::Invalid, text))
}
