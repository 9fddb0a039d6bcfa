//! Where the bases of checkpoints are opened.

use tidemill_state::ErrorKind;

use crate::failure::Failure;

/// Creates a folder that is removed when it is dropped.
pub fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::tempdir().map_err(|error| {
        let text = format!(
            "cannot create a folder for temporary files in \"{}\": {error}; name another one: TMPDIR=DIR tidemill …",
            std::env::temp_dir().display()
        );
        Failure::new(ErrorKind::Unavailable, text)
    })
}
