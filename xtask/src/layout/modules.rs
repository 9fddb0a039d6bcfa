//! The modules of a crate: the file of each, and the names that it defines, imports and mentions. Code of tests is left
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::tokens::{Token, tokens};

/// The modules of a crate, in their own files or inside others. The first is the crate's root.
#[derive(Default)]
pub struct Crate {
    pub modules: Vec<Module>,
    /// The files, each with the path of its module.
    pub files: Vec<(PathBuf, Vec<String>)>,
}

#[derive(Default)]
pub struct Module {
    pub parent: Option<usize>,
    /// Index of the module's file in [`Crate::files`].
    pub file: usize,
    pub children: BTreeMap<String, usize>,
    pub defined: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// The paths in code, as in `position::encode(…)`.
    pub paths: Vec<Vec<String>>,
    /// Every name that code mentions, without imports.
    pub mentioned: BTreeSet<String>,
}

/// One name of a `use`.
pub struct Import {
    /// The imported name; `None` for `*`.
    pub name: Option<String>,
    pub path: Vec<String>,
    pub public: bool,
}

/// Reads the crate whose root is this file.
pub fn read(root: &Path) -> Result<Crate> {
    let mut found = Crate::default();
    let folder = root.parent().context("the root of a crate has no folder")?;
    file(&mut found, root, folder, None, Vec::new())?;
    Ok(found)
}

/// Reads a file, whose module has the path `name`. The files of modules that it declares are in `folder`.
fn file(found: &mut Crate, path: &Path, folder: &Path, parent: Option<usize>, name: Vec<String>) -> Result<usize> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let module = found.modules.len();
    found.modules.push(Module { parent, file: found.files.len(), ..Module::default() });
    found.files.push((path.to_owned(), name));
    let all = tokens(&text);
    Reader { tokens: &all, at: 0, found, folder }.module(module)?;
    Ok(module)
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: &'a mut Crate,
    folder: &'a Path,
}

/// The facts that the attributes before an item state about it.
#[derive(Default)]
struct Attributes {
    is_test: bool,
    is_exported: bool,
}

impl Reader<'_> {
    fn mark(&self, ahead: usize, mark: char) -> bool {
        self.tokens.get(self.at + ahead) == Some(&Token::Mark(mark))
    }

    fn name(&self, ahead: usize) -> Option<&str> {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// Reads a module up to the brace that closes it, or to the file's end.
    fn module(&mut self, module: usize) -> Result<()> {
        let mut depth = 0_usize;
        let mut attributes = Attributes::default();
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Mark('#') if self.mark(1, '[') || (self.mark(1, '!') && self.mark(2, '[')) => {
                    self.attribute(&mut attributes);
                    if attributes.is_test {
                        self.skip_item();
                        attributes = Attributes::default();
                    }
                    continue;
                }
                Token::Mark('{') => depth += 1,
                Token::Mark('}') if depth == 0 => return Ok(()),
                Token::Mark('}') => depth -= 1,
                Token::Name(name) => {
                    self.word(name, module, depth, &attributes)?;
                    if !matches!(name.as_str(), "pub" | "crate" | "super" | "in" | "unsafe" | "async") {
                        attributes = Attributes::default();
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a part that begins with a name: an import, a module, a definition, or a path in code.
    fn word(&mut self, word: &str, module: usize, depth: usize, attributes: &Attributes) -> Result<()> {
        let named = self.name(1).map(str::to_owned);
        match (word, named) {
            ("use", _) if !self.mark(1, '<') => {
                let public = self.is_public();
                self.at += 1;
                let mut imports = Vec::new();
                self.imports(&[], public, &mut imports)?;
                self.of(module).imports.extend(imports);
                return Ok(());
            }
            ("mod", Some(name)) if self.mark(2, ';') || self.mark(2, '{') => return self.child(module, name),
            ("macro_rules", _) => {
                if let Some(name) = self.name(2).map(str::to_owned) {
                    // An exported macro has its path from the root.
                    if attributes.is_exported {
                        let path = self.path_of(module, &name);
                        self.of(0).imports.push(Import { name: Some(name.clone()), path, public: true });
                    }
                    self.of(module).defined.insert(name);
                    self.at += 3;
                    return Ok(());
                }
            }
            ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union", Some(name)) if depth == 0 => {
                self.of(module).defined.insert(name);
            }
            _ => {}
        }
        self.path(word, module);
        Ok(())
    }

    fn of(&mut self, module: usize) -> &mut Module {
        &mut self.found.modules[module]
    }

    fn path_of(&self, module: usize, name: &str) -> Vec<String> {
        let (_, path) = &self.found.files[self.found.modules[module].file];
        [&["crate".to_owned()], path.as_slice(), &[name.to_owned()]].concat()
    }

    /// Reads a name, and all names that follow it after `::`.
    fn path(&mut self, first: &str, module: usize) {
        let goes_on = self.at > 0 && self.tokens.get(self.at - 1) == Some(&Token::PathSeparator);
        let mut path = vec![first.to_owned()];
        self.at += 1;
        while self.tokens.get(self.at) == Some(&Token::PathSeparator) {
            let Some(next) = self.name(1).map(str::to_owned) else { break };
            path.push(next);
            self.at += 2;
        }
        if !goes_on {
            self.of(module).mentioned.insert(first.to_owned());
            if path.len() > 1 {
                self.of(module).paths.push(path);
            }
        }
    }

    /// Returns whether the current token comes after `pub` or `pub(…)`.
    fn is_public(&self) -> bool {
        let before = self.tokens.get(..self.at).unwrap_or_default();
        let end = match before.last() {
            Some(Token::Mark(')')) => before.iter().rposition(|token| *token == Token::Mark('(')).unwrap_or(0),
            _ => before.len(),
        };
        end > 0 && before.get(end - 1) == Some(&Token::Name("pub".to_owned()))
    }

    /// Reads the names of a `use`, from here to after its `;` (or, in a group, to its `,` or `}`).
    fn imports(&mut self, prefix: &[String], public: bool, imports: &mut Vec<Import>) -> Result<()> {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut is_group = false;
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Name(word)) if word == "as" => {
                    name = self.name(1).map(str::to_owned);
                    self.at += 1;
                }
                Some(Token::Name(word)) if word == "self" && !path.is_empty() => {} // `a::{self}` is `a`
                Some(Token::Name(word)) => path.push(word.clone()),
                Some(Token::Mark('*')) => {
                    imports.push(Import { name: None, path: path.clone(), public });
                    is_group = true;
                }
                Some(Token::Mark('{')) => {
                    is_group = true;
                    self.at += 1;
                    while !self.mark(0, '}') {
                        self.imports(&path, public, imports)?;
                        self.at += usize::from(self.mark(0, ','));
                    }
                }
                Some(Token::Mark(';' | ',' | '}')) => break,
                Some(_) => {}
                None => bail!("a `use` does not end"),
            }
            self.at += 1;
        }
        if !is_group {
            let name = name.or_else(|| path.last().cloned());
            imports.push(Import { name, path, public });
        }
        Ok(())
    }

    /// Reads a module inside this one, or in a file of its own.
    fn child(&mut self, parent: usize, name: String) -> Result<()> {
        let is_inline = self.mark(2, '{');
        self.at += 3;
        let child = if is_inline {
            let child = self.found.modules.len();
            let file = self.of(parent).file;
            self.found.modules.push(Module { parent: Some(parent), file, ..Module::default() });
            self.module(child)?;
            self.at += 1;
            child
        } else {
            let folder = self.folder.join(&name);
            let beside = self.folder.join(format!("{name}.rs"));
            let path = if beside.exists() { beside } else { folder.join("mod.rs") };
            let module = self.path_of(parent, &name).split_off(1);
            file(self.found, &path, &folder, Some(parent), module)?
        };
        self.of(parent).children.insert(name, child);
        Ok(())
    }

    /// Reads an attribute, from `#` to after `]`.
    fn attribute(&mut self, attributes: &mut Attributes) {
        let start = self.at;
        self.at += if self.mark(1, '!') { 2 } else { 1 };
        self.skip_group();
        let words: Vec<&str> = self.tokens[start..self.at]
            .iter()
            .filter_map(|token| if let Token::Name(name) = token { Some(name.as_str()) } else { None })
            .collect();
        attributes.is_test |=
            matches!(words.as_slice(), ["test"] | ["cfg", "test"] | ["cfg", "all", "test", ..] | ["cfg", "doctest"]);
        attributes.is_exported |= words == ["macro_export"];
    }

    /// Skips a group, from an opening bracket to after the one that closes it.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token {
                Token::Mark('(' | '[' | '{') => depth += 1,
                Token::Mark(')' | ']' | '}') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// Skips an item, a field of a struct or a statement of a function: to the end of its `;` or block, or to its `,`
    /// where commas separate.
    fn skip_item(&mut self) {
        while self.mark(0, '#') {
            self.attribute(&mut Attributes::default());
        }
        let first = self.name(0).unwrap_or_default();
        let items = [
            "pub", "fn", "mod", "use", "impl", "struct", "enum", "trait", "const", "static", "type", "unsafe", "async",
        ];
        let (is_item, is_use) = (items.contains(&first), first == "use");
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Mark(';') => {
                    self.at += 1;
                    return;
                }
                Token::Mark(',') if !is_item => return,
                Token::Mark('}') => return,
                Token::Mark('{') => {
                    self.skip_group();
                    if !is_use {
                        return;
                    }
                }
                Token::Mark('(' | '[') => self.skip_group(),
                _ => self.at += 1,
            }
        }
    }
}
