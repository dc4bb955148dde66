//! Rules for what a crate may depend on, and for what must not be in the tree at all.

use super::Tree;
use crate::run;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Workspace crates by package, with the workspace crates that each may use. What is missing here may use none.
const LAYERS: &[(&str, &[&str])] = &[
    ("mxjob-machinery", &[]),
    ("mxjob-store", &[]),
    ("mxjob-api", &["mxjob-machinery"]),
    ("mxjob-apiserver", &["mxjob-machinery", "mxjob-api", "mxjob-store"]),
    ("mxjob-controller", &["mxjob-machinery", "mxjob-api"]),
    ("mxjob-node", &["mxjob-machinery"]),
];
/// Crates whose tests must build in seconds, and what would spoil that.
const PURE: &[&str] = &["mxjob-machinery", "mxjob-api", "mxjob-store"];
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
    let graph = Graph::read()?;
    let mut found = Vec::new();
    for (package, allowed) in LAYERS {
        let used = graph.reach(package)?;
        for other in used.iter().filter(|name| name.starts_with("mxjob")) {
            if other != package && !allowed.contains(&other.as_str()) {
                found.push(format!("{package} uses {other}, which is above or beside it"));
            }
        }
        if PURE.contains(package) {
            for heavy in HEAVY.iter().filter(|name| used.contains(**name)) {
                found.push(format!(
                    "{package} pulls in {heavy}; it must stay free of I/O frameworks"
                ));
            }
        }
    }
    for (name, reason) in BANNED {
        if graph.versions.contains_key(*name) {
            found.push(format!("{name} is in the tree: {reason}"));
        }
    }
    for name in SINGLE {
        let versions = graph.versions.get(*name).map(BTreeSet::len).unwrap_or_default();
        if versions > 1 {
            found.push(format!("{name} is in the tree in {versions} versions"));
        }
    }
    for (name, features) in &graph.features {
        if name == "serde_json" && features.contains("preserve_order") {
            found.push(
                "serde_json has preserve_order on: objects must keep sorted keys, and be fast"
                    .to_owned(),
            );
        }
    }
    Ok(found)
}

/// The resolved dependencies of the workspace; development dependencies of our own crates are left out.
#[derive(Debug, Default)]
struct Graph {
    /// Package id to package name.
    names: BTreeMap<String, String>,
    /// Package id to the ids that it needs to be built and to run.
    needs: BTreeMap<String, Vec<String>>,
    /// Name to the versions that something we build needs.
    versions: BTreeMap<String, BTreeSet<String>>,
    /// Name to the switched-on features of all its versions.
    features: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Result<Self> {
        // Only what is built on Linux: other systems' crates are in the lock file, but never in our tree.
        let text = run::output(run::cargo().args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ]))?;
        let metadata: Value = serde_json::from_str(&text).context("cannot read cargo metadata")?;
        let mut graph = Self::default();
        let packages = list(&metadata["packages"]);
        for package in packages {
            graph.names.insert(word(&package["id"]), word(&package["name"]));
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let id = word(&node["id"]);
            let needed = list(&node["deps"]).iter().filter(|dependency| {
                list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev")
            });
            graph
                .needs
                .insert(id.clone(), needed.map(|dependency| word(&dependency["pkg"])).collect());
            let name = graph.names.get(&id).cloned().unwrap_or_default();
            let features = list(&node["features"]).iter().map(word);
            graph.features.entry(name).or_default().extend(features);
        }
        let members: Vec<String> = list(&metadata["workspace_members"]).iter().map(word).collect();
        let built = graph.closure(members);
        for package in packages {
            if built.contains(&word(&package["id"])) {
                let versions = graph.versions.entry(word(&package["name"])).or_default();
                versions.insert(word(&package["version"]));
            }
        }
        Ok(graph)
    }

    /// The names of everything that a package needs, itself included.
    fn reach(&self, package: &str) -> Result<BTreeSet<String>> {
        let id = self.names.iter().find(|(_, name)| *name == package).map(|(id, _)| id.clone());
        let id = id.with_context(|| format!("there is no package {package}"))?;
        Ok(self.closure(vec![id]).iter().filter_map(|id| self.names.get(id).cloned()).collect())
    }

    fn closure(&self, mut open: Vec<String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if let Some(needed) = self.needs.get(&id) {
                open.extend(needed.iter().filter(|next| !seen.contains(*next)).cloned());
            }
            seen.insert(id);
        }
        seen
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
