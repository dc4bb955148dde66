//! Discovery: which groups, versions and resources are served, as `kubectl` and client libraries ask for it.
//!
//! Everything comes from the registry's rows and is rendered once for each set of rows. Structs are in upstream's order of fields, so that the
//! documents read like upstream's byte for byte. Rendering in other forms (indented, YAML) and answering 304 is the
//! service's matter.

mod accept;
mod aggregated;
mod plain;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA512, digest};

use crate::discovery::accept::Wanted;
use crate::kind::Kind;

/// A document to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Compact JSON, keys in their right order (save [`crate::version`]'s, which is indented).
    pub json: Vec<u8>,
    /// `Content-Type` where it is more than the negotiated form: then the JSON goes out as it stands.
    pub content_type: Option<String>,
    /// `ETag`, quoted.
    pub etag: Option<String>,
}

/// The served kinds by group and version, groups in the registry's order, resources by name as upstream lists them.
pub(crate) struct Groups<'a>(Vec<(&'a str, Versions<'a>)>);

type Versions<'a> = Vec<(&'a str, Vec<&'a Kind>)>;

/// All documents, by path without a trailing slash.
#[derive(Debug)]
pub(crate) struct Documents {
    plain: BTreeMap<String, Vec<u8>>,
    aggregated: BTreeMap<(&'static str, aggregated::Version), Document>,
}

/// A strong entity tag for some bytes: as upstream's, the SHA-512 in upper-case hex, quoted.
pub(crate) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hash(bytes))
}

/// SHA-512 in upper-case hex.
pub(crate) fn hash(bytes: &[u8]) -> String {
    digest(&SHA512, bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Serializes a document's struct.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // The structs have string keys and plain values only, so this cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

// === impl Groups ===

impl<'a> Groups<'a> {
    pub(crate) fn of(kinds: impl IntoIterator<Item = &'a Kind>) -> Self {
        let mut groups: Vec<(&str, Versions<'_>)> = Vec::new();
        for kind in kinds {
            let versions = entry(&mut groups, kind.group);
            entry(versions, kind.version).push(kind);
        }
        for (_, kinds) in groups.iter_mut().flat_map(|(_, versions)| versions) {
            kinds.sort_by_key(|kind| kind.plural);
        }
        Self(groups)
    }

    /// Every group but the core one.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'a str, &Versions<'a>)> {
        self.0
            .iter()
            .filter(|(group, _)| !group.is_empty())
            .map(|(group, versions)| (*group, versions))
    }

    /// The core group's versions.
    pub(crate) fn core(&self) -> Option<&Versions<'a>> {
        self.0.iter().find(|(group, _)| group.is_empty()).map(|(_, versions)| versions)
    }

    /// Every group version and its kinds, the core group's among them.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&'a str, &'a str, &[&'a Kind])> {
        self.0.iter().flat_map(|(group, versions)| {
            versions.iter().map(move |(version, kinds)| (*group, *version, kinds.as_slice()))
        })
    }
}

/// The value under a key, added at the end where it is missing.
fn entry<'a, 'v, T: Default>(pairs: &'v mut Vec<(&'a str, T)>, key: &'a str) -> &'v mut T {
    let index = pairs.iter().position(|(present, _)| *present == key).unwrap_or_else(|| {
        pairs.push((key, T::default()));
        pairs.len() - 1
    });
    // The index is that of an element found or pushed just now.
    #[expect(clippy::indexing_slicing, reason = "the element was found or pushed just now")]
    &mut pairs[index].1
}

/// `/api/v1`, `/apis/kubeflow.org/v1`.
pub(crate) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

// === impl Documents ===

impl Documents {
    /// The documents of these kinds.
    pub(crate) fn of<'a>(kinds: impl IntoIterator<Item = &'a Kind>) -> Self {
        let groups = &Groups::of(kinds);
        Self { plain: plain::documents(groups), aggregated: aggregated::documents(groups) }
    }

    /// The document under a path, with or without a trailing slash; `None` where there is none. `/api` and `/apis` come
    /// aggregated to clients that ask for it.
    pub(crate) fn find(&self, path: &str, accept: &str) -> Option<Document> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(root) = ["/api", "/apis"].into_iter().find(|root| *root == path)
            && let Wanted::Aggregated(version) = accept::wanted(accept)
            && let Some(document) = self.aggregated.get(&(root, version))
        {
            return Some(document.clone());
        }
        let json = self.plain.get(path)?.clone();
        Some(Document { json, content_type: None, etag: None })
    }
}

#[cfg(test)]
mod tests;
