//! The graph of imports between a crate's files: every name is followed through re-exports to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Crate, Import};

/// The target of a path.
enum Target {
    Module(usize),
    /// A name that the module with this number defines.
    Defined(usize),
}

/// Returns for each file the files that it imports from. Declaring and re-exporting a child is no import.
pub fn imports(read: &Crate) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut graph: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (at, module) in read.modules.iter().enumerate() {
        let mut targets = Vec::new();
        for import in &module.imports {
            let is_used = |name: &String| module.mentioned.contains(name);
            match &import.name {
                None => {
                    let Some(Target::Module(all)) = target(read, at, &import.path, &mut BTreeSet::new()) else {
                        continue;
                    };
                    let own = |name: &&String| !module.defined.contains(*name);
                    let names = module.mentioned.iter().filter(own);
                    targets.extend(names.filter_map(|name| defined(read, all, name, &mut BTreeSet::new())));
                }
                Some(name) => {
                    let found = target(read, at, &import.path, &mut BTreeSet::new());
                    let Some(Target::Defined(of)) = found else { continue };
                    if !import.public || is_used(name) || !is_below(read, of, at) {
                        targets.push(of);
                    }
                }
            }
        }
        for path in &module.paths {
            if let Some(Target::Defined(of)) = target(read, at, path, &mut BTreeSet::new()) {
                targets.push(of);
            }
        }
        let known = graph.entry(module.file).or_default();
        known.extend(targets.into_iter().map(|of| read.modules[of].file).filter(|file| *file != module.file));
    }
    graph
}

/// Returns the module that defines a name, if `module` has the name.
fn defined(read: &Crate, module: usize, name: &str, visited: &mut BTreeSet<(usize, String)>) -> Option<usize> {
    match lookup(read, module, name, visited) {
        Some(Target::Defined(of)) => Some(of),
        _ => None,
    }
}

/// Returns the target of a path that is used in the module `from`, or `None` if it leads to another crate.
fn target(read: &Crate, from: usize, path: &[String], visited: &mut BTreeSet<(usize, String)>) -> Option<Target> {
    let mut module = from;
    for name in path {
        match name.as_str() {
            "crate" => module = 0,
            "self" => {}
            "super" => module = read.modules[module].parent?,
            _ => match lookup(read, module, name, visited)? {
                Target::Module(next) => module = next,
                found @ Target::Defined(_) => return Some(found),
            },
        }
    }
    Some(Target::Module(module))
}

/// Returns the target of a name in a module. `visited` has the names that are being looked up, because a name may be
/// imported by its own name.
fn lookup(read: &Crate, module: usize, name: &str, visited: &mut BTreeSet<(usize, String)>) -> Option<Target> {
    if !visited.insert((module, name.to_owned())) {
        return None;
    }
    let known = &read.modules[module];
    if let Some(child) = known.children.get(name) {
        return Some(Target::Module(*child));
    }
    if known.defined.contains(name) {
        return Some(Target::Defined(module));
    }
    let by_name = |import: &&Import| import.name.as_deref() == Some(name);
    let found = known.imports.iter().filter(by_name).find_map(|import| target(read, module, &import.path, visited));
    found.or_else(|| {
        let globs = known.imports.iter().filter(|import| import.name.is_none());
        globs.into_iter().find_map(|glob| match target(read, module, &glob.path, visited)? {
            Target::Module(all) => lookup(read, all, name, visited),
            Target::Defined(_) => None, // the variants of an enum
        })
    })
}

/// Returns whether `module` is the module `of`, or is below it.
fn is_below(read: &Crate, module: usize, of: usize) -> bool {
    std::iter::successors(Some(module), |module| read.modules[*module].parent).any(|module| module == of)
}

/// Returns the circles of a graph, the largest first: sets of nodes that each lead to every other (Tarjan, 1972).
pub fn circles<N: Copy + Ord>(graph: &BTreeMap<N, BTreeSet<N>>) -> Vec<Vec<N>> {
    let mut search = Search { graph, seen: BTreeMap::new(), open: Vec::new(), circles: Vec::new() };
    for node in graph.keys() {
        if !search.seen.contains_key(node) {
            search.visit(*node);
        }
    }
    search.circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    search.circles
}

struct Search<'a, N> {
    graph: &'a BTreeMap<N, BTreeSet<N>>,
    /// The order in which nodes were visited; `None` once it is known which circle a node belongs to.
    seen: BTreeMap<N, Option<usize>>,
    open: Vec<N>,
    circles: Vec<Vec<N>>,
}

impl<N: Copy + Ord> Search<'_, N> {
    /// Visits all nodes that this one leads to. Returns the earliest open node among them.
    fn visit(&mut self, node: N) -> usize {
        let own = self.seen.len();
        let mut lowest = own;
        self.seen.insert(node, Some(own));
        self.open.push(node);
        for next in self.graph.get(&node).into_iter().flatten() {
            match self.seen.get(next) {
                None => lowest = lowest.min(self.visit(*next)),
                Some(Some(met)) => lowest = lowest.min(*met),
                Some(None) => {}
            }
        }
        if lowest == own {
            let start = self.open.iter().position(|open| *open == node).unwrap_or(0);
            let mut circle = self.open.split_off(start);
            for node in &circle {
                self.seen.insert(*node, None);
            }
            circle.sort_unstable();
            if circle.len() > 1 {
                self.circles.push(circle);
            }
        }
        lowest
    }
}
