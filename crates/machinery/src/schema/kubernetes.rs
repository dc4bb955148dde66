//! The schemas of the built-in kinds, generated from the Kubernetes types into `kubernetes.json`
//! (`cargo xtask codegen`).
//!
//! A definition is named as upstream names it (`io.k8s.api.core.v1.Pod`) and has no prose but ours.
//! Finding one costs a look into an index; it is parsed when something is checked against it.

use std::sync::LazyLock;

use super::{Definitions, Schema};

static DEFINITIONS: LazyLock<Definitions> =
    LazyLock::new(|| Definitions::of_lines(include_str!("kubernetes.json")));

/// All definitions.
pub fn definitions() -> &'static Definitions {
    &DEFINITIONS
}

/// The schema of a built-in kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<Schema<'static>> {
    DEFINITIONS.schema(&name(group, version, kind))
}

/// The name of a kind's definition: the group's domain backwards, as upstream names the packages of
/// its types.
pub fn name(group: &str, version: &str, kind: &str) -> String {
    let package = match group.strip_suffix(".k8s.io") {
        Some("apiextensions") => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".to_owned(),
        Some("meta") => "io.k8s.apimachinery.pkg.apis.meta".to_owned(),
        Some(short) => match short.split_once('.') {
            // `rbac.authorization.k8s.io` is the package `rbac`.
            Some((first, _)) => format!("io.k8s.api.{first}"),
            None => format!("io.k8s.api.{short}"),
        },
        None if group.is_empty() => "io.k8s.api.core".to_owned(),
        // `policy`, `apps`, `batch`: groups from before domains were asked for.
        None if !group.contains('.') => format!("io.k8s.api.{group}"),
        None => group.rsplit('.').collect::<Vec<_>>().join("."),
    };
    format!("{package}.{version}.{kind}")
}
