//! The tables of a page of `docs`, for tests that hold the page against the code.

use std::fs;
use std::path::Path;

/// A reference page of `docs`: its headings, its tables and its blocks of code.
pub struct ReferencePage {
    text: String,
}

impl ReferencePage {
    /// Reads the page at `path`.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { text }
    }

    /// Returns the text below the heading `heading`, until the next heading of any level. Without a heading, returns
    /// the whole page.
    pub fn section(&self, heading: Option<&str>) -> String {
        let Some(heading) = heading else { return self.text.clone() };
        let is_wanted = |line: &&str| is_heading(line) && line.trim_start_matches('#').trim() == heading;
        let mut lines = self.text.lines().skip_while(|line| !is_wanted(line));
        assert!(lines.next().is_some(), "the page has no heading \"{heading}\"");
        lines.take_while(|line| !is_heading(line)).collect::<Vec<_>>().join("\n")
    }

    /// Returns the headings of the page below its title, without their marks.
    pub fn headings(&self) -> Vec<String> {
        let headings = self.text.lines().filter(|line| is_heading(line));
        headings.map(|line| line.trim_start_matches('#').trim().to_owned()).collect()
    }

    /// Returns the rows of the tables below `heading` (of the whole page without a heading), without their heads.
    pub fn rows(&self, heading: Option<&str>) -> Vec<Vec<String>> {
        let section = self.section(heading);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for line in section.lines().filter(|line| line.starts_with('|')) {
            let is_rule = line.chars().all(|c| "|-: ".contains(c));
            if is_rule {
                // The row above it is the head of the table.
                rows.pop();
            } else {
                rows.push(cells(line));
            }
        }
        rows
    }

    /// Returns the first block of code in `language` below `heading`.
    pub fn code(&self, heading: Option<&str>, language: &str) -> String {
        let section = self.section(heading);
        let begin = format!("```{language}");
        let lines = section.lines().skip_while(|line| *line != begin).skip(1);
        let code = lines.take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
        assert!(!code.is_empty(), "there is no {begin} below {heading:?}");
        code
    }
}

/// Returns the text of a cell that is one piece of code, and of any other cell the whole cell.
pub fn code_of(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or(cell)
}

/// Returns whether a line is a heading, other than the title. A line that begins with one `#` may be code.
fn is_heading(line: &str) -> bool {
    line.starts_with("##") && line.trim_start_matches('#').starts_with(' ')
}

/// Returns the cells of a row. A `\|` within a cell is a `|`.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{1}");
    inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_below_their_heading() {
        let text = "# Page\n\n## One\n\n| a | b |\n|---|--:|\n| `x` | 1 \\| 2 |\n\n## Two\n| a |\n|---|\n| z |\n";
        let page = ReferencePage { text: text.to_owned() };
        assert_eq!(page.rows(Some("One")), [["`x`", "1 | 2"]]);
        assert_eq!(page.rows(None).len(), 2);
        assert_eq!(page.headings(), ["One", "Two"]);
        assert_eq!((code_of("`x`"), code_of("a `x`")), ("x", "a `x`"));
    }
}
