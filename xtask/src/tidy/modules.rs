//! Rules for imports between the modules of a crate: no circles, and the layers of
//! `ARCHITECTURE.md`.

mod graph;
pub(super) mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Tree;
use graph::{Graph, Module, circles};
use source::Source;

/// Allowed circles of two modules, each with the reason. Larger circles are never allowed.
const ALLOWED_PAIRS: &[(&str, &str, &str)] = &[];
/// The document with the lists of layers.
const DRAWINGS: &str = "ARCHITECTURE.md";
/// Begins the list of one crate's layers; the crate's name follows.
const DRAWING: &str = "```layers ";

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let crates = read(tree)?;
    let document = tree.text(Path::new(DRAWINGS))?;
    let drawings = drawings(&document);
    let mut found = Vec::new();
    let (mut count, mut used_pairs) = (0, BTreeSet::new());
    for (name, graph) in &crates {
        let uses = graph.uses();
        for circle in circles(&uses) {
            count += 1;
            let shown: Vec<String> = circle.iter().map(|module| shown(name, module)).collect();
            let pair = ALLOWED_PAIRS
                .iter()
                .find(|(one, other, _)| shown == [one.to_owned(), other.to_owned()]);
            match pair {
                Some((one, other, _)) => drop(used_pairs.insert((*one, *other))),
                None => found.push(describe(name, &circle, &uses)),
            }
        }
        if let Some(layers) = drawings.get(name.as_str()) {
            found.extend(layer_problems(name, layers, &uses));
        }
    }
    for name in drawings.keys().filter(|name| !crates.contains_key(**name)) {
        found.push(format!("{DRAWINGS} has layers of {name}, which is no crate"));
    }
    for (one, other, _) in ALLOWED_PAIRS {
        if !used_pairs.contains(&(*one, *other)) {
            found.push(format!(
                "{one} and {other} are no circle any more; remove them from the allowed pairs"
            ));
        }
    }
    println!("tidy: import circles: {count} ({} allowed)", ALLOWED_PAIRS.len());
    Ok(found)
}

/// The crates below `crates/` by folder, with their modules.
fn read(tree: &Tree) -> Result<BTreeMap<String, Graph>> {
    let mut crates: BTreeMap<String, Graph> = BTreeMap::new();
    for file in tree.with_extension("rs") {
        let mut parts = file.iter().map(|part| part.to_string_lossy().into_owned());
        if parts.next().as_deref() != Some("crates") {
            continue;
        }
        let (Some(name), Some("src")) = (parts.next(), parts.next().as_deref()) else { continue };
        let mut module: Module = parts.collect();
        let Some(last) = module.last_mut() else { continue };
        *last = last.trim_end_matches(".rs").to_owned();
        if module.iter().any(|part| part == "tests") {
            continue;
        }
        if matches!(module.as_slice(), [root] if root == "lib" || root == "main") {
            module.clear();
        }
        let source = Source::read(&tree.text(file)?)
            .with_context(|| format!("cannot read {}", file.display()))?;
        crates.entry(name).or_default().insert(module, source);
    }
    Ok(crates)
}

fn shown(name: &str, module: &Module) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{name}::{}", module.join("::")) }
}

fn describe(name: &str, circle: &[&Module], uses: &BTreeMap<&Module, BTreeSet<&Module>>) -> String {
    let arrows: Vec<String> = circle
        .iter()
        .flat_map(|from| {
            let used = uses.get(*from).into_iter().flatten();
            used.filter(|to| circle.contains(*to))
                .map(|to| format!("    {} -> {}", shown(name, from), shown(name, to)))
        })
        .collect();
    format!("a circle of {} files in {name}:\n{}", circle.len(), arrows.join("\n"))
}

/// The layers of each crate in the document, the top one first: names of modules below the crate
/// root.
fn drawings(document: &str) -> BTreeMap<&str, Vec<Vec<&str>>> {
    let mut found = BTreeMap::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.trim_start().strip_prefix(DRAWING) else { continue };
        let layers = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            // Text after `#` explains the layer.
            .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
            .filter(|layer: &Vec<&str>| !layer.is_empty())
            .collect();
        found.insert(name.trim(), layers);
    }
    found
}

/// A module may use modules of lower layers, and those of its own layer.
fn layer_problems(
    name: &str,
    layers: &[Vec<&str>],
    uses: &BTreeMap<&Module, BTreeSet<&Module>>,
) -> Vec<String> {
    let layer_of = |module: &Module| {
        let top = module.first()?;
        layers.iter().position(|layer| layer.contains(&top.as_str()))
    };
    let mut found = Vec::new();
    let tops: BTreeSet<&str> =
        uses.keys().filter_map(|module| module.first()).map(String::as_str).collect();
    for top in &tops {
        if !layers.iter().flatten().any(|drawn| drawn == top) {
            found.push(format!("{name}::{top} is missing in the layers of {DRAWINGS}"));
        }
    }
    for drawn in layers.iter().flatten().filter(|drawn| !tops.contains(**drawn)) {
        found.push(format!("{DRAWINGS} names a module {drawn}, which {name} does not have"));
    }
    for (from, used) in uses {
        for to in used {
            if let (Some(above), Some(below)) = (layer_of(from), layer_of(to))
                && below < above
            {
                let (from, to) = (shown(name, from), shown(name, to));
                found.push(format!("{from} uses {to}, which is in a layer above it"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_may_not_use_a_layer_above_it() {
        let document = "Text.\n```layers api\nverbs # top\nkinds rows\n```\n";
        let layers = drawings(document).remove("api").unwrap();
        assert_eq!(layers, [vec!["verbs"], vec!["kinds", "rows"]]);
        let check = |kinds: &str, expected: &[&str]| {
            let mut graph = Graph::default();
            let files = [("verbs", "use crate::kinds::K;"), ("kinds", kinds), ("rows", "")];
            for (module, text) in files {
                graph.insert(vec![module.to_owned()], Source::read(text).unwrap());
            }
            let found = layer_problems("api", &layers, &graph.uses());
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (problem, part) in found.iter().zip(expected) {
                assert!(problem.contains(part), "{problem}");
            }
        };
        check("use crate::rows::R;", &[]);
        check("use crate::verbs::V;", &["api::kinds uses api::verbs"]);
    }
}
