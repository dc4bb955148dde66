//! Rules for what a crate may depend on, and for what must not be in the tree at all.

use super::Tree;
use crate::run;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};

/// Workspace crates by package, with the workspace crates that each may use. What is missing here may use none.
const LAYERS: &[(&str, &[&str])] = &[
    ("mxjob-machinery", &[]),
    ("mxjob-files", &[]),
    ("mxjob-store", &["mxjob-files"]),
    ("mxjob-api", &["mxjob-machinery"]),
    ("mxjob-serve", &["mxjob-machinery"]),
    ("mxjob-access", &["mxjob-machinery", "mxjob-files", "mxjob-store"]),
    (
        "mxjob-apiserver",
        &[
            "mxjob-machinery",
            "mxjob-files",
            "mxjob-api",
            "mxjob-store",
            "mxjob-serve",
            "mxjob-access",
        ],
    ),
    ("mxjob-client", &["mxjob-machinery"]),
    ("mxjob-controller", &["mxjob-machinery", "mxjob-api", "mxjob-client"]),
    ("mxjob-node", &["mxjob-machinery", "mxjob-files", "mxjob-client"]),
    ("mxjob-migrate", &["mxjob-machinery", "mxjob-api"]),
    (
        "mxjob-operator",
        &["mxjob-machinery", "mxjob-api", "mxjob-client", "mxjob-controller", "mxjob-serve"],
    ),
];
/// Crates whose tests must build in seconds, and what would spoil that.
const PURE: &[&str] = &["mxjob-machinery", "mxjob-api", "mxjob-store", "mxjob-migrate"];
const HEAVY: &[&str] = &["kube", "kube-core", "kube-client", "tokio", "hyper", "axum", "tower"];
/// Not in the tree, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("ring", "one cryptography library, and that is aws-lc-rs"),
    ("openssl-sys", "one cryptography library, and that is aws-lc-rs"),
    ("serde_yaml", "unmaintained; serde-saphyr reads YAML here"),
    ("reqwest", "kube and hyper are the clients that we have"),
];
/// Crates that cost much to build or whose types cross our borders: two versions of one are a mistake.
const SINGLE: &[&str] = &[
    "aws-lc-rs",
    "bytes",
    "fjall",
    "http",
    "http-body",
    "hyper",
    "jiff",
    "k8s-openapi",
    "kube",
    "rustls",
    "serde_json",
    "tokio",
    "tower",
    "tower-http",
];

pub(crate) fn check(_: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (package, allowed) in LAYERS {
        let used = dependencies(&["--package", package])?;
        for other in used.keys().filter(|name| name.starts_with("mxjob")) {
            if other != package && !allowed.contains(&other.as_str()) {
                found.push(format!("{package} uses {other}, which is above or beside it"));
            }
        }
        if PURE.contains(package) {
            for heavy in HEAVY.iter().filter(|name| used.contains_key(**name)) {
                found.push(format!(
                    "{package} pulls in {heavy}; it must stay free of I/O frameworks"
                ));
            }
        }
    }
    found.extend(whole_tree(&dependencies(&["--workspace"])?));
    Ok(found)
}

/// The rules for everything that we build.
fn whole_tree(used: &Dependencies) -> Vec<String> {
    let mut found = Vec::new();
    for (name, reason) in BANNED {
        if used.contains_key(*name) {
            found.push(format!("{name} is in the tree: {reason}"));
        }
    }
    for name in SINGLE {
        let versions = used.get(*name).map(|package| package.versions.len()).unwrap_or_default();
        if versions > 1 {
            found.push(format!("{name} is in the tree in {versions} versions"));
        }
    }
    if used.get("serde_json").is_some_and(|package| package.features.contains("preserve_order")) {
        found.push(
            "serde_json has preserve_order on: objects must keep sorted keys, and be fast"
                .to_owned(),
        );
    }
    found
}

/// What a package is in the tree as.
#[derive(Debug, Default)]
struct Package {
    versions: BTreeSet<String>,
    features: BTreeSet<String>,
}

type Dependencies = BTreeMap<String, Package>;

/// What is needed to build and run the selected packages on Linux; what only tests use is left out.
///
/// `cargo tree` and not `cargo metadata`: the latter also lists optional crates that nothing switches on.
fn dependencies(selection: &[&str]) -> Result<Dependencies> {
    let text = run::output(
        run::cargo()
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal,build",
                "--prefix",
                "none",
                "--no-dedupe",
            ])
            .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}|{f}"])
            .args(selection),
    )?;
    let mut found = Dependencies::new();
    for line in text.lines() {
        let Some((package, features)) = line.split_once('|') else { continue };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let entry = found.entry(name.to_owned()).or_default();
        entry.versions.insert(version.to_owned());
        // Below a package whose features are many, cargo marks a repeated one after them.
        entry.features.extend(features.trim_end_matches(" (*)").split(',').map(str::to_owned));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, versions: &[&str], features: &[&str], expected: Option<&str>) {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let package = Package { versions: words(versions), features: words(features) };
        let found = whole_tree(&Dependencies::from([(name.to_owned(), package)]));
        match expected {
            Some(part) => assert!(found.iter().any(|problem| problem.contains(part)), "{found:?}"),
            None => assert!(found.is_empty(), "{found:?}"),
        }
    }

    #[test]
    fn the_whole_tree_has_its_rules() {
        check("serde_json", &["v1.0.154"], &["raw_value"], None);
        check("serde_json", &["v1.0.154"], &["preserve_order"], Some("preserve_order"));
        check("tokio", &["v1.0.0", "v2.0.0"], &[], Some("2 versions"));
        check("syn", &["v1.0.0", "v2.0.0"], &[], None);
        check("ring", &["v0.17.0"], &[], Some("aws-lc-rs"));
    }
}
