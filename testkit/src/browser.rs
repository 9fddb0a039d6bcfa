//! The browser that looks at the page, and the checks of accessibility that it runs.

use std::path::{Path, PathBuf};

/// The programs of the browser and of its driver, and the Debian packages that have them.
pub const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];
pub const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];
/// The package of axe, which finds what people with other eyes or hands could not use, and its version.
pub const AXE: (&str, &str) = ("axe-core", "4.14.1");

/// Returns where the script of axe is in a project that has been set up.
pub fn axe(project: &Path) -> PathBuf {
    project.join(".cache").join(format!("{}-{}", AXE.0, AXE.1)).join("axe.min.js")
}
