//! The file of requests that the target has refused.
//!
//! A line is on the disk before the next request is sent, and before its epoch counts as published. So after a crash it is there,
//! or its request is sent and refused again; it may be there twice, with the same key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;
use tidemill_engine::locks::lock;
use tidemill_engine::{ConnectorError, ErrorKind};

/// A refused request, as a line of JSON.
#[derive(Debug, Serialize)]
pub(super) struct Letter<'l> {
    pub(super) sink: &'l str,
    pub(super) worker: usize,
    pub(super) epoch: u64,
    pub(super) key: &'l str,
    /// Number of records in the body.
    pub(super) records: usize,
    pub(super) status: u16,
    /// The status and the beginning of the answer's body.
    pub(super) reason: String,
    pub(super) content_type: &'l str,
    /// The whole body, so that it can be sent again.
    pub(super) body: &'l str,
}

/// The file of one worker.
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
    file: Mutex<File>,
}

impl DeadLetters {
    /// Opens the file of a sink's worker in a folder, which is made if it is not there.
    pub(super) fn open(folder: &Path, sink: &str, worker: usize) -> Result<Self, ConnectorError> {
        let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        let path = folder.join(format!("{}-w{worker}.jsonl", sink.chars().map(safe).collect::<String>()));
        let file = Self::open_file(folder, &path).map_err(|e| {
            let message = format!("could not open the file of dead letters \"{}\"", path.display());
            ConnectorError::caused(ErrorKind::Invalid, message, e)
        })?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    fn open_file(folder: &Path, path: &Path) -> io::Result<File> {
        fs::create_dir_all(folder)?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        // A line that a crash of the machine has cut off was not confirmed: its request is sent again.
        if !ends_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(file)
    }

    /// Appends a line. It is on the disk when this returns.
    pub(super) fn append(&self, letter: &Letter<'_>) -> Result<(), ConnectorError> {
        let failed = |e: io::Error| {
            let message = format!("could not write to the file of dead letters \"{}\"", self.path.display());
            ConnectorError::caused(ErrorKind::Unavailable, message, e)
        };
        let mut line = serde_json::to_vec(letter).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        let mut file = lock(&self.file);
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(failed)
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(key: &str) -> Letter<'_> {
        let (reason, content_type, body) = ("422: \"no\"".to_owned(), "application/json", "{\"a\":\"\\n\"}");
        Letter { sink: "out", worker: 1, epoch: 7, key, records: 1, status: 422, reason, content_type, body }
    }

    #[test]
    fn lines_are_appended_and_one_that_was_cut_off_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let open = || DeadLetters::open(&folder.path().join("new"), "my/out", 1).unwrap();
        open().append(&letter("a")).unwrap();
        let path = folder.path().join("new/my_out-w1.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"sink\":\"ou")).unwrap();
        open().append(&letter("b")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Option<serde_json::Value>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        let key = |line: &Option<serde_json::Value>| line.as_ref().map(|line| line["key"].clone());
        assert_eq!(lines.iter().map(key).collect::<Vec<_>>(), [Some("a".into()), None, Some("b".into())]);
        assert_eq!(lines[2].as_ref().unwrap()["body"], "{\"a\":\"\\n\"}");
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DeadLetters::open(&file, "out", 0).unwrap_err().to_string();
        assert!(error.contains("could not open the file of dead letters") && error.contains("out-w0.jsonl"), "{error}");
    }
}
