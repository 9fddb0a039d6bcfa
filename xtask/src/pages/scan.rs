//! A scan of the sources, as rustfmt writes them: enough for names, and no parser.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::root;
use crate::tools::rust_files;

/// An error that no program can reach: its module is private.
const INTERNAL: &str = "DecodeError";

/// A source file, without its unit tests.
pub struct Source {
    path: PathBuf,
    text: String,
}

/// Returns the sources of the library.
pub fn library() -> Vec<Source> {
    read(&["src", "engine/src", "operators/src", "connectors/src", "state/src"], true)
}

/// Returns all sources, with their tests, examples and chores.
pub fn repository() -> Vec<Source> {
    let folders = ["src", "engine/src", "operators/src", "connectors/src", "state/src"];
    let others = ["testkit/src", "deploy/src", "xtask/src", "tests", "examples", "bench"];
    read(&[&folders[..], &others].concat(), false)
}

fn read(folders: &[&str], without_tests: bool) -> Vec<Source> {
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| rust_files(&root().join(folder), &mut paths).unwrap());
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_owned(),
    };
    let mut found: Vec<Source> = paths.into_iter().map(source).collect();
    // These files name what they look for.
    found.retain(|source| !source.is_in("xtask/src/pages"));
    if without_tests {
        found.retain(|source| !source.path.ends_with("tests.rs") && !source.path.iter().any(|part| part == "tests"));
        found
            .iter_mut()
            .for_each(|source| source.text = source.text.split("\nmod tests {").next().unwrap_or_default().to_owned());
    }
    found
}

impl Source {
    /// Returns whether this is the file `path`, or is below it.
    pub fn is_in(&self, path: &str) -> bool {
        self.path.starts_with(path)
    }

    /// Returns the environment variables that are read, without Cargo's own.
    pub fn variables(&self) -> Vec<String> {
        let by_name = ["env::var(\"", "env::var_os(\""].iter().flat_map(|call| after(&self.text, call));
        let constants = after(&self.text, "&str = \"TIDEMILL_").map(|rest| format!("TIDEMILL_{}", literal(rest)));
        let names = by_name.map(|rest| literal(rest).to_owned()).chain(constants);
        let is_name = |name: &String| name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !name.ends_with('_');
        let mut names: Vec<String> = names.filter(is_name).filter(|name| !name.starts_with("CARGO")).collect();
        if self.text.contains("env::temp_dir()") {
            names.push("TMPDIR".to_owned());
        }
        names
    }

    /// Returns the public structs whose names end in `ending`, with their public fields and the types of these.
    pub fn structs(&self, ending: &str) -> Vec<(String, Vec<(String, String)>)> {
        let bodies = self.items("pub struct ").into_iter().filter(|(name, _)| name.ends_with(ending));
        let field = |line: &str| {
            let (name, kind) = line.strip_prefix("    pub ")?.strip_suffix(',')?.split_once(": ")?;
            Some((name.to_owned(), kind.to_owned()))
        };
        bodies.map(|(name, body)| (name, body.lines().filter_map(field).collect())).collect()
    }

    /// Returns the public enums of errors, kinds of errors and remedies, with their variants.
    pub fn enums(&self) -> Vec<(String, Vec<String>)> {
        let wanted = |name: &str| {
            let is_error = name.ends_with("Error") || ["ErrorKind", "Remedy", "NotDecoded"].contains(&name);
            is_error && name != INTERNAL
        };
        let enums = self.items("pub enum ").into_iter().filter(|(name, _)| wanted(name));
        enums.map(|(name, body)| (name, variants(&body))).collect()
    }

    /// Returns the public errors that are one struct.
    pub fn unique_errors(&self) -> Vec<String> {
        let names = after(&self.text, "\npub struct ").map(|rest| word(rest).to_owned());
        names.filter(|name| name.ends_with("Error") && name != INTERNAL).collect()
    }

    /// Returns the names and the bodies of the items that begin with `begin`.
    fn items(&self, begin: &str) -> Vec<(String, String)> {
        let items = after(&self.text, &format!("\n{begin}"));
        let item = |rest: &str| {
            let (head, body) = rest.split_once(" {\n")?;
            let body = body.split("\n}\n").next()?;
            (!head.contains('\n')).then(|| (word(head).to_owned(), body.to_owned()))
        };
        items.filter_map(item).collect()
    }

    /// Returns the names of the methods of builders that a macro here defines, if it is the one that sources share.
    pub fn shared_builder_methods(&self) -> Vec<String> {
        let lines = self.text.contains("macro_rules! event_time_settings").then(|| self.text.lines());
        let methods = lines.into_iter().flatten().filter_map(|line| line.strip_prefix("        pub fn "));
        methods.filter(|rest| rest.contains("(mut self")).map(|rest| word(rest).to_owned()).collect()
    }

    /// Returns the methods that take a value and return it changed, as `Type::method`. `shared` are those that sources have by
    /// the macro.
    pub fn builder_methods(&self, shared: &[String]) -> Vec<String> {
        let (mut of, mut found) = ("", Vec::new());
        for line in self.text.lines() {
            if line.starts_with("impl") {
                of = implemented(line);
            }
            if line.starts_with("    event_time_settings!(") {
                found.extend(shared.iter().map(|method| format!("{of}::{method}")));
            }
            if let Some(rest) = line.strip_prefix("    pub fn ")
                && rest.contains("(mut self")
                && rest.contains("-> Self")
            {
                found.push(format!("{of}::{}", word(rest)));
            }
        }
        found
    }

    /// Returns the names under which operators register metrics here.
    pub fn metrics_registered(&self) -> Vec<String> {
        let calls = [".counter(", ".gauge(", ".distribution("];
        calls.into_iter().flat_map(|call| self.registered(call)).map(str::to_owned).collect()
    }

    /// Returns the names of operators' metrics that are given a family here: the patterns of a `match`.
    pub fn names_placed(&self) -> Vec<String> {
        let pattern = |line: &str| Some(line.trim().strip_prefix('"')?.split_once("\" => (")?.0.to_owned());
        self.text.lines().filter_map(pattern).collect()
    }

    /// Returns the names of the details of operators.
    pub fn details(&self) -> Vec<String> {
        self.registered(".detail(").map(str::to_owned).collect()
    }

    fn registered<'a>(&'a self, call: &'a str) -> impl Iterator<Item = &'a str> {
        after(&self.text, call).filter_map(argument)
    }

    /// Returns the kinds that `fn kind` gives to variants, as pairs of `Type::Variant` and kind, where it gives one.
    pub fn kinds(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut of = "";
        let mut pattern = String::new();
        for line in self.text.lines() {
            if line.starts_with("impl") {
                of = implemented(line);
            }
            pattern.push_str(line);
            let Some((_, then)) = line.split_once(" => ") else {
                pattern = if line.trim_start().starts_with(['|', 'S']) { pattern } else { String::new() };
                continue;
            };
            if let Some(kind) = then.strip_prefix("ErrorKind::") {
                let variants = after(&pattern, "Self::").map(word);
                found.extend(variants.map(|variant| (format!("{of}::{variant}"), word(kind).to_owned())));
            }
            pattern.clear();
        }
        found
    }

    /// Returns the exit code of each kind that has one of its own.
    pub fn exit_codes(&self) -> Vec<(String, String)> {
        let arms = after(&self.text, "        ErrorKind::").filter_map(|rest| rest.lines().next()?.split_once(" => "));
        arms.map(|(kind, code)| (kind.to_owned(), code.trim_end_matches(',').to_owned())).collect()
    }

    /// Returns how the hint of each remedy begins.
    pub fn hints(&self) -> BTreeMap<String, String> {
        let arms = after(&self.text, "        Remedy::").filter_map(|rest| rest.lines().next()?.split_once(" => "));
        let begin = |text: &str| {
            let literal = after(text, "\"").next().map(literal).unwrap_or("--");
            literal.split('{').next().unwrap_or_default().to_owned()
        };
        arms.map(|(remedy, text)| (word(remedy).to_owned(), begin(text))).collect()
    }
}

/// Returns what follows each `mark` in `text`.
fn after<'a>(text: &'a str, mark: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let length = mark.len();
    text.match_indices(mark).map(|(at, _)| at).collect::<Vec<_>>().into_iter().map(move |at| &text[at + length..])
}

/// Returns the text until the next quote.
fn literal(rest: &str) -> &str {
    rest.split('"').next().unwrap_or_default()
}

/// Returns the first argument of a call, if it is a literal.
fn argument(rest: &str) -> Option<&str> {
    rest.trim_start().strip_prefix('"').map(literal)
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Returns the type that a line `impl<…> Type<…> {` is about.
fn implemented(line: &str) -> &str {
    let rest = line.strip_prefix("impl").unwrap_or_default();
    let mut depth = 0;
    let end = rest.find(|c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c == ' '
    });
    word(end.map_or("", |end| rest[end..].trim_start()))
}

/// Returns the variants of an enum, without those that are hidden from the documentation.
fn variants(body: &str) -> Vec<String> {
    let (mut hidden, mut found) = (false, Vec::new());
    for line in body.lines() {
        if line == "    #[doc(hidden)]" {
            hidden = true;
        }
        let is_variant =
            line.strip_prefix("    ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        if is_variant && !std::mem::take(&mut hidden) {
            found.push(word(line.trim_start()).to_owned());
        }
    }
    found
}
