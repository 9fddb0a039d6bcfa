//! What a page of Markdown has that can be wrong: links, headings, names of files and functions, programs.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::root;

/// A page, by its path in the repository.
#[derive(Default)]
pub struct Page {
    pub path: PathBuf,
    pub links: Vec<String>,
    /// The anchors of the headings, as GitHub and mdBook make them.
    pub anchors: Vec<String>,
    /// The texts that are set as code.
    pub codes: Vec<String>,
    /// The same by row of a table.
    pub rows: Vec<Vec<String>>,
    /// Whether a program of the page can be a test.
    pub has_program: bool,
}

impl Page {
    pub fn read(path: PathBuf) -> Result<Self> {
        let text = std::fs::read_to_string(root().join(&path)).with_context(|| path.display().to_string())?;
        let mut page = Self { path, ..Self::default() };
        let mut heading = None;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap_or_default()),
                Event::Start(Tag::TableRow) => page.rows.push(Vec::new()),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    page.has_program |= info.split(',').next() == Some("rust");
                }
                Event::Code(code) => {
                    heading.iter_mut().for_each(|heading| heading.push_str(&code));
                    page.rows.last_mut().into_iter().for_each(|row| row.push(code.to_string()));
                    page.codes.push(code.into_string());
                }
                Event::Text(part) => heading.iter_mut().for_each(|heading| heading.push_str(&part)),
                _ => {}
            }
        }
        Ok(page)
    }

    /// Adds the anchor of a heading: its letters and digits in small, spaces as dashes; a further one of the same text
    /// has a number.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(same).find(|anchor| !self.anchors.contains(anchor));
        self.anchors.extend(free);
    }

    /// Returns what is wrong with the links of this page.
    pub fn broken<'a>(&'a self, pages: &'a HashMap<PathBuf, Page>) -> impl Iterator<Item = String> + 'a {
        let own = |link: &&String| !link.contains("://") && !link.starts_with("mailto:");
        self.links.iter().filter(own).filter_map(|link| {
            let fault = self.fault(link, pages)?;
            Some(format!("{}: ({link}) {fault}", self.path.display()))
        })
    }

    fn fault(&self, link: &str, pages: &HashMap<PathBuf, Page>) -> Option<&'static str> {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let to = if file.is_empty() { self.path.clone() } else { normal(&folder.join(file)) };
        let in_site = self.path.starts_with("docs");
        if in_site && !to.starts_with("docs") {
            Some("leaves the site, which has the pages of docs/ only: name the file as code instead")
        } else if !root().join(&to).exists() {
            Some("is a file that is not there")
        } else if in_site && !root().join(&to).is_file() {
            Some("is a folder, which the site has no page for")
        } else if !anchor.is_empty() && !pages.get(&to).is_some_and(|page| page.anchors.iter().any(|a| a == anchor)) {
            Some("is a heading that is not there")
        } else {
            None
        }
    }
}

/// Resolves the `..` of a path.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// Returns all pages of the repository.
pub fn pages() -> Result<HashMap<PathBuf, Page>> {
    let (mut pages, mut folders) = (HashMap::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder))? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            let name = name.to_string_lossy();
            let foreign = name.starts_with('.') && name != ".github" || name == "target" || name == "shared";
            if entry.file_type()?.is_dir() && !foreign {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.insert(path.clone(), Page::read(path)?);
            }
        }
    }
    Ok(pages)
}
