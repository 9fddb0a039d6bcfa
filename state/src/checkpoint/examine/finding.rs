//! What an examination finds.

use std::fmt;

use serde::Serialize;

/// A file of a checkpoint directory that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the file, from the checkpoint directory on.
    pub file: String,
    /// What is wrong with it.
    pub fault: Fault,
    /// Where in the file, in bytes from its begin, if that is known.
    pub offset: Option<u64>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// The numbers of the manifests that name the file, or that are the file.
    pub epochs: Vec<u64>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, fault, offset, expected, found, epochs: _ } = self;
        let at = offset.map_or_else(String::new, |offset| format!(" at byte {offset}"));
        write!(f, "{fault}: {file}{at}: expected {expected}, found {found}")
    }
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A manifest names the file, and it is not there.
    Missing,
    /// The file is shorter than its manifest says.
    Truncated,
    /// The file is longer than its manifest says.
    TooLong,
    /// The file has the right length and other contents.
    Changed,
    /// The file is as its manifest says, or has no manifest that says how it is, and it cannot be read.
    Unreadable,
    /// Tidemill never writes a file of this name in this place.
    Unexpected,
    /// The file can only be there if later checkpoints were committed, whose manifests are lost.
    ManifestLost,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Truncated => "truncated",
            Self::TooLong => "too-long",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
            Self::Unexpected => "unexpected",
            Self::ManifestLost => "manifest-lost",
        })
    }
}

/// Something that is no fault of a checkpoint, and worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Name of the file or folder, from the checkpoint directory on.
    pub file: String,
    /// What it is.
    pub what: String,
}

/// What an examination has looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The epochs whose checkpoints were examined.
    pub checkpoints: Vec<u64>,
    /// The epochs among them whose checkpoints are whole.
    pub whole: Vec<u64>,
    /// The number of files that were examined, manifests among them.
    pub files: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// Faults, in the order of files.
    pub findings: Vec<Finding>,
    /// What is no fault, in the order of files.
    pub notices: Vec<Notice>,
}
