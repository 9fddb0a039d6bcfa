//! Tests that the reader finds planted circles and only real ones, and that no crate of the workspace has a circle.

use super::*;

/// Creates and reads a crate of these files, in a folder of its own.
fn planted(name: &str, files: &[(&str, &str)]) -> Result<modules::Crate> {
    let folder = std::env::temp_dir().join(format!("tidemill-layout-{}-{name}", std::process::id()));
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        std::fs::write(path, text)?;
    }
    let read = modules::read(&folder.join("lib.rs"));
    std::fs::remove_dir_all(&folder)?;
    read
}

#[test]
fn no_circle_of_files_and_no_arrow_up_between_folders() -> Result<()> {
    let mut faults = Vec::new();
    for folder in crates()? {
        let found = Layout::of(&folder)?;
        if !NOT_YET.contains(&found.name.as_str()) {
            faults.extend(found.faults());
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[test]
fn a_circle_is_found_through_re_exports_groups_and_paths_in_code() -> Result<()> {
    let read = planted(
        "circle",
        &[
            ("lib.rs", "mod a; mod b; mod c; mod d; pub use a::A; pub use crate::b::{deep::{self, D as E}};"),
            ("a.rs", "use crate::{E, x::Y as Z}; pub struct A; fn f() -> impl Sized + use<> { 'x' }"),
            ("b/mod.rs", "pub mod deep; pub(crate) use deep::D;"),
            ("b/deep.rs", "pub struct D; pub fn g() { super::super::c::h::<u8>(\"use crate::d::Apart;\") }"),
            ("c.rs", "pub fn h<T>(_: &str) { crate::A; }"),
            ("d.rs", "pub struct Apart; use crate::a::A;"),
        ],
    )?;
    let (files, folders) = circles(&read);
    assert_eq!(files, [["a", "b/deep", "c"]]);
    assert!(folders.is_empty());
    Ok(())
}

#[test]
fn the_names_of_a_glob_are_followed_and_a_macro_is_its_file_s() -> Result<()> {
    let read = planted(
        "glob",
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::*; fn f(_: B) {} #[macro_export] macro_rules! made { () => { $crate::c::C }; }"),
            ("b.rs", "pub use crate::c::C; pub struct B;"),
            ("c.rs", "pub struct C; fn g() { crate::made!() }"),
        ],
    )?;
    let (files, _) = circles(&read);
    assert_eq!(files, [["a", "b", "c"]]);
    Ok(())
}

#[test]
fn tests_re_exports_and_comments_are_no_imports() -> Result<()> {
    let read = planted(
        "none",
        &[
            ("lib.rs", "mod a; mod b; pub use b::B; /* pub use a::A; fn f(_: A) {} */"),
            (
                "a.rs",
                "use crate::B; pub struct A; #[cfg(test)] use crate::b::{C}; #[cfg(test)] mod tests { use crate::b::B; }",
            ),
            (
                "b.rs",
                "/// [`A`](crate::a::A)
                 pub struct B { #[cfg(test)] a: crate::a::A, b: u8 }
                 #[cfg(test)] mod tests; #[test] fn t() { crate::a::A; }
                 #[cfg(test)] pub fn only(a: [u8; 2]) -> crate::a::A { crate::a::A }",
            ),
        ],
    )?;
    let (files, folders) = circles(&read);
    assert_eq!((files.len(), folders.len()), (0, 0));
    Ok(())
}

#[test]
fn folders_that_import_each_other_are_a_circle_even_if_no_files_are() -> Result<()> {
    let read = planted(
        "folders",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "pub mod one; pub mod two;"),
            ("a/one.rs", "pub struct One;"),
            ("a/two.rs", "use crate::b::three::Three;"),
            ("b/mod.rs", "pub mod three; pub mod four;"),
            ("b/three.rs", "pub struct Three;"),
            ("b/four.rs", "use crate::a::one::One;"),
        ],
    )?;
    let (files, folders) = circles(&read);
    assert!(files.is_empty());
    assert_eq!(folders, [["a", "b"]]);
    Ok(())
}
