//! Rules for the dependencies of each crate, and for the dependency tree as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::Tree;
use crate::run;

/// Each workspace crate with the workspace crates that it may use, directly or not.
/// `ARCHITECTURE.md` has the same table.
const LAYERS: &[(&str, &[&str])] = &[
    ("mxjob-machinery", &[]),
    ("mxjob-files", &[]),
    ("mxjob-store", &["mxjob-files"]),
    ("mxjob-api", &["mxjob-machinery"]),
    ("mxjob-protobuf", &["mxjob-machinery"]),
    ("mxjob-serve", &["mxjob-machinery"]),
    ("mxjob-access", &["mxjob-machinery", "mxjob-files", "mxjob-store"]),
    (
        "mxjob-apiserver",
        &[
            "mxjob-machinery",
            "mxjob-protobuf",
            "mxjob-files",
            "mxjob-api",
            "mxjob-store",
            "mxjob-serve",
            "mxjob-access",
        ],
    ),
    ("mxjob-client", &["mxjob-machinery"]),
    ("mxjob-manager", &["mxjob-machinery", "mxjob-client"]),
    ("mxjob-controller", &["mxjob-machinery", "mxjob-api", "mxjob-client"]),
    ("mxjob-node", &["mxjob-machinery", "mxjob-files", "mxjob-protobuf", "mxjob-client"]),
    ("mxjob-migrate", &["mxjob-machinery", "mxjob-api"]),
    (
        "mxjob-operator",
        &["mxjob-machinery", "mxjob-api", "mxjob-client", "mxjob-controller", "mxjob-serve"],
    ),
    (
        "mxjob-testkit",
        &[
            "mxjob-machinery",
            "mxjob-protobuf",
            "mxjob-files",
            "mxjob-api",
            "mxjob-store",
            "mxjob-serve",
            "mxjob-access",
            "mxjob-apiserver",
        ],
    ),
];
/// The crate that only tests may use.
const TESTS_ONLY: &str = "mxjob-testkit";
/// The binary, which has no row in [`LAYERS`] because it may use all the others.
const BINARY: &str = "mxjob";
/// Crates without I/O frameworks, so that their tests build in seconds.
const PURE: &[&str] =
    &["mxjob-machinery", "mxjob-protobuf", "mxjob-api", "mxjob-store", "mxjob-migrate"];
const HEAVY: &[&str] = &["kube", "kube-core", "kube-client", "tokio", "hyper", "axum", "tower"];
/// Crates that are not allowed, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("ring", "the one cryptography library is aws-lc-rs"),
    ("openssl-sys", "the one cryptography library is aws-lc-rs"),
    ("serde_yaml", "unmaintained; serde-saphyr reads YAML here"),
    ("reqwest", "the HTTP clients here are kube and hyper"),
];
/// Crates that are allowed in one version only: they are expensive to build, or our public types
/// use theirs.
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

/// The document whose table of crates must agree with [`LAYERS`].
const TABLE: &str = "ARCHITECTURE.md";

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = table_problems(&tree.text(Path::new(TABLE))?);
    for (package, allowed) in LAYERS {
        let used = dependencies(&["--package", package])?;
        for other in used.keys().filter(|name| name.starts_with("mxjob")) {
            if other != package && !allowed.contains(&other.as_str()) {
                found.push(format!("{package} uses {other}, which is not in its list"));
            }
        }
        if PURE.contains(package) {
            for heavy in HEAVY.iter().filter(|name| used.contains_key(**name)) {
                found.push(format!(
                    "{package} depends on {heavy}; it must build without I/O frameworks"
                ));
            }
        }
    }
    if dependencies(&["--package", BINARY])?.contains_key(TESTS_ONLY) {
        found.push(format!("{BINARY} uses {TESTS_ONLY}, which is for tests only"));
    }
    found.extend(whole_tree(&dependencies(&["--workspace"])?));
    Ok(found)
}

/// Compares [`LAYERS`] with rows such as `| \`crates/a\` | … | b, c |`.
fn table_problems(document: &str) -> Vec<String> {
    let rows: BTreeMap<&str, BTreeSet<&str>> = document
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `crates/")?.split_once('`')?;
            let (_, names) = rest.trim_end_matches([' ', '|']).rsplit_once("| ")?;
            Some((name, names.split(", ").filter(|name| *name != "–").collect()))
        })
        .collect();
    let mut found = Vec::new();
    for (package, allowed) in LAYERS {
        let short = |name: &'static str| name.strip_prefix("mxjob-").unwrap_or(name);
        let name = short(package);
        let allowed: BTreeSet<&str> = allowed.iter().map(|other| short(other)).collect();
        if rows.get(name) != Some(&allowed) {
            let allowed = allowed.into_iter().collect::<Vec<_>>().join(", ");
            found.push(format!(
                "{TABLE}: the row of crates/{name} must say that it may use: {allowed}"
            ));
        }
    }
    found
}

/// The rules for the dependencies of all crates.
fn whole_tree(used: &Dependencies) -> Vec<String> {
    let mut found = Vec::new();
    for (name, reason) in BANNED {
        if used.contains_key(*name) {
            found.push(format!("{name} is a dependency: {reason}"));
        }
    }
    for name in SINGLE {
        let versions = used.get(*name).map(|package| package.versions.len()).unwrap_or_default();
        if versions > 1 {
            found.push(format!("{name} is a dependency in {versions} versions"));
        }
    }
    if used.get("serde_json").is_some_and(|package| package.features.contains("preserve_order")) {
        found.push(
            "serde_json has the feature preserve_order; objects must have sorted keys, and it is slow"
                .to_owned(),
        );
    }
    found
}

/// Versions and features of a dependency.
#[derive(Debug, Default)]
struct Package {
    versions: BTreeSet<String>,
    features: BTreeSet<String>,
}

type Dependencies = BTreeMap<String, Package>;

/// The dependencies of the selected packages on Linux, without development dependencies.
///
/// `cargo tree` and not `cargo metadata`: the latter also lists optional crates that no feature
/// switches on.
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
        // cargo marks a repeated package after its features.
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
    fn the_table_of_crates_must_agree() {
        let rows = LAYERS.iter().map(|(package, allowed)| {
            let short = |name: &str| name.trim_start_matches("mxjob-").to_owned();
            let allowed: Vec<String> = allowed.iter().map(|name| short(name)).collect();
            let allowed = if allowed.is_empty() { "–".to_owned() } else { allowed.join(", ") };
            format!("| `crates/{}` | a, b | {allowed} |\n", short(package))
        });
        let document: String = rows.collect();
        assert_eq!(table_problems(&document), Vec::<String>::new());
        let wrong = document.replace("| machinery, api |", "| machinery |");
        assert!(table_problems(&wrong).iter().any(|problem| problem.contains("crates/migrate")));
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
