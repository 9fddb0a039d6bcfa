//! The programs of another build, which `--against` compares this one with.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// Returns the absolute path of a folder that must have these programs, because programs are started in another folder.
pub fn folder(path: &Path, programs: &[&str]) -> Result<PathBuf> {
    let shown = path.display();
    ensure!(path.is_dir(), "--against {shown}: there is no such folder");
    let missing: Vec<&str> = programs.iter().copied().filter(|name| !path.join(name).is_file()).collect();
    ensure!(
        missing.is_empty(),
        "--against {shown}: it lacks {}. It has to be a folder of another build: `cargo build --release --workspace \
         --all-features --examples --bins` puts examples into target/release/examples, and peer_iot and peer_fraud into \
         target/release",
        missing.join(", "),
    );
    Ok(std::path::absolute(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_the_programs_is_refused_before_anything_is_measured() -> Result<()> {
        let scratch = std::env::temp_dir().join(format!("tidemill-against-{}", std::process::id()));
        let refused = |path: &Path| folder(path, &["peer_iot", "peer_fraud"]).unwrap_err().to_string();
        assert!(refused(&scratch).contains("no such folder"));
        std::fs::create_dir_all(&scratch)?;
        std::fs::write(scratch.join("peer_iot"), "")?;
        let error = refused(&scratch);
        assert!(error.contains("it lacks peer_fraud."), "{error}");
        std::fs::write(scratch.join("peer_fraud"), "")?;
        assert_eq!(folder(&scratch, &["peer_iot", "peer_fraud"])?, scratch);
        std::fs::remove_dir_all(&scratch)?;
        Ok(())
    }
}
