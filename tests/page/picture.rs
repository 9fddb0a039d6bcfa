//! The screens on which the page is looked at, and pictures of it.

use std::fs;

use testkit::project;

use crate::browser::Browser;

pub const DESK: (u32, u32) = (1440, 900);
pub const PHONE: (u32, u32) = (390, 844);

/// What finds faults of the page for people who cannot see or use it as others do.
pub fn axe() -> String {
    let path = testkit::browser::axe(&project());
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("no {} ({e}): run `cargo xtask setup`", path.display()))
}

/// Keeps a picture of the screen, for people to look at.
pub fn keep_picture(browser: &Browser, name: &str) {
    let folder = project().join("target/page");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.png")), browser.picture()).unwrap();
}
