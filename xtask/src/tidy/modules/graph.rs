//! The modules of one crate, and the modules that each uses.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Path, Source};

/// How many re-exports are followed from one name; a longer chain is a circle of re-exports.
const MAX_REEXPORTS: usize = 16;

/// A module's path below the crate root: empty for the root itself.
pub(super) type Module = Vec<String>;

/// A crate: its modules with their sources.
#[derive(Debug, Default)]
pub(super) struct Graph(BTreeMap<Module, Source>);

impl Graph {
    /// Adds a module.
    pub(super) fn insert(&mut self, module: Module, source: Source) {
        self.0.insert(module, source);
    }

    /// The modules that each module uses, except its own parents. A re-exported name counts as a
    /// use of the defining module.
    pub(super) fn uses(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let mut all = BTreeMap::new();
        for (module, source) in &self.0 {
            let passed_on = source.exports.iter().filter(|(name, _)| source.names(name));
            let paths = source.paths.iter().chain(passed_on.map(|(_, path)| path));
            let mut used: BTreeSet<&Module> =
                paths.filter_map(|path| self.resolve(module, path, MAX_REEXPORTS)).collect();
            // A child is a part of its parent, and may use it.
            used.retain(|other| !module.starts_with(other));
            all.insert(module, used);
        }
        all
    }

    /// The module that defines what a path names, if it belongs to this crate.
    fn resolve(&self, from: &Module, path: &Path, depth: usize) -> Option<&Module> {
        let (first, rest) = path.split_first()?;
        let mut rest = rest;
        let mut module = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => {
                let mut module = from.clone();
                module.pop()?;
                while let Some(("super", after)) =
                    rest.split_first().map(|(first, after)| (first.as_str(), after))
                {
                    module.pop()?;
                    rest = after;
                }
                module
            }
            name if self.0.get(from)?.children.contains(name) => {
                let mut module = from.clone();
                module.push(name.to_owned());
                module
            }
            _ => return None,
        };
        while let Some((name, after)) = rest.split_first() {
            module.push(name.clone());
            if !self.0.contains_key(&module) {
                module.pop();
                return self.define(&module, name, after, depth);
            }
            rest = after;
        }
        self.0.get_key_value(&module).map(|(module, _)| module)
    }

    /// The module that defines a name of `module`: itself, or the one that it re-exports the name
    /// from.
    fn define(
        &self,
        module: &Module,
        name: &str,
        after: &[String],
        depth: usize,
    ) -> Option<&Module> {
        let (module, source) = self.0.get_key_value(module)?;
        let Some(depth) = depth.checked_sub(1) else { return Some(module) };
        let named = source.exports.iter().find(|(exported, _)| exported == name);
        if let Some((_, path)) = named {
            let path: Path = path.iter().chain(after).cloned().collect();
            return self.resolve(module, &path, depth).or(Some(module));
        }
        Some(module)
    }
}

/// The circles: sets of two or more modules that all reach one another, each sorted.
pub(super) fn circles<'a>(
    uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> Vec<Vec<&'a Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|module| (*module, reach(module, uses))).collect();
    let mut found: Vec<Vec<&Module>> = Vec::new();
    for (module, others) in &reached {
        if !others.contains(module) || found.iter().any(|circle| circle.contains(module)) {
            continue;
        }
        let circle = others
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(module)))
            .copied()
            .collect();
        found.push(circle);
    }
    found
}

/// All modules that a module uses, directly or not.
fn reach<'a>(
    from: &'a Module,
    uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for used in uses.get(module).into_iter().flatten() {
            if found.insert(*used) {
                next.push(used);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (module, text) in files {
            let module = module.split("::").filter(|part| !part.is_empty());
            graph.insert(module.map(str::to_owned).collect(), Source::read(text).unwrap());
        }
        graph
    }

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let graph = graph(files);
        let uses = graph.uses();
        let found: Vec<_> = circles(&uses)
            .iter()
            .map(|circle| {
                circle.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_circle_is_found_through_any_kind_of_path() {
        check(&[("", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "")], &[]);
        check(
            &[("", "mod a; mod b;"), ("a", "use super::b;"), ("b", "fn f() { crate::a::g() }")],
            &["a b"],
        );
    }

    #[test]
    fn a_child_may_use_its_parent() {
        check(&[("", "mod a;"), ("a", "mod b; fn f() { b::g() }"), ("a::b", "use super::Y;")], &[]);
    }

    #[test]
    fn a_name_belongs_to_the_module_that_defines_it() {
        // `a` passes on `b::X` and does not use it, so `c` depends on `b` alone.
        check(
            &[
                ("", "mod a;"),
                ("a", "mod b; mod c; pub use b::X; use c::Z;"),
                ("a::b", ""),
                ("a::c", "use super::X;"),
            ],
            &[],
        );
        // Here `a` uses it as well, which makes no circle either: `b` needs nothing.
        check(&[("", "mod a;"), ("a", "mod b; pub use b::X; fn f(x: X) {}"), ("a::b", "")], &[]);
    }
}
