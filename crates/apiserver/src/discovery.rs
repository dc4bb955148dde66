//! Discovery: the served groups, versions and resources, as `kubectl` and client libraries read
//! them.
//!
//! Everything is derived from the registry's rows and rendered once for each set of rows. Structs
//! have upstream's order of fields, so that the documents equal upstream's byte for byte. The
//! service renders other forms (indented, YAML) and responds with 304.

mod accept;
mod aggregated;
mod plain;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA512, digest};
use bytes::Bytes;

use crate::compress;
use crate::discovery::accept::Wanted;
use crate::kind::Kind;

/// A document to send. Clones share its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Compact JSON with keys in upstream's order (except [`crate::version`]'s, which is indented).
    pub json: Bytes,
    /// `Content-Type` if it is not the negotiated form; the JSON is then sent unchanged.
    pub content_type: Option<String>,
    /// `ETag`, quoted.
    pub etag: Option<String>,
    /// The same JSON and a line break, compressed when it is first sent so.
    packed: Arc<OnceLock<Bytes>>,
}

/// The served kinds by group and version, groups in the registry's order, resources by name as
/// upstream lists them.
pub(crate) struct Groups<'a>(Vec<(&'a str, Versions<'a>)>);

type Versions<'a> = Vec<(&'a str, Vec<&'a Kind>)>;

/// All documents, by path without a trailing slash.
#[derive(Debug)]
pub(crate) struct Documents {
    plain: BTreeMap<String, Document>,
    aggregated: BTreeMap<(&'static str, aggregated::Version), Document>,
}

/// A strong entity tag, as upstream's: the SHA-512 in upper-case hex, quoted.
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
    pub(crate) fn of(kinds: impl IntoIterator<Item = &'a Arc<Kind>>) -> Self {
        let mut groups: Vec<(&str, Versions<'_>)> = Vec::new();
        for kind in kinds {
            let versions = entry(&mut groups, &kind.group);
            entry(versions, &kind.version).push(kind);
        }
        for (_, kinds) in groups.iter_mut().flat_map(|(_, versions)| versions) {
            kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
        }
        Self(groups)
    }

    /// Every group except the core one.
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

    /// Every group version and its kinds, including the core group's.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&'a str, &'a str, &[&'a Kind])> {
        self.0.iter().flat_map(|(group, versions)| {
            versions.iter().map(move |(version, kinds)| (*group, *version, kinds.as_slice()))
        })
    }
}

/// The value of a key; a missing key is appended.
fn entry<'a, 'v, T: Default>(pairs: &'v mut Vec<(&'a str, T)>, key: &'a str) -> &'v mut T {
    let index = pairs.iter().position(|(present, _)| *present == key).unwrap_or_else(|| {
        pairs.push((key, T::default()));
        pairs.len() - 1
    });
    // The index is that of an element that was just found or pushed.
    #[expect(clippy::indexing_slicing, reason = "the element was found or pushed just now")]
    &mut pairs[index].1
}

/// `/api/v1`, `/apis/kubeflow.org/v1`.
pub(crate) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

// === impl Document ===

impl Document {
    pub(crate) fn new(
        json: impl Into<Bytes>,
        content_type: Option<String>,
        etag: Option<String>,
    ) -> Self {
        Self { json: json.into(), content_type, etag, packed: Arc::default() }
    }

    /// The compressed form, which is made once.
    pub(crate) fn packed(&self) -> Bytes {
        self.packed.get_or_init(|| compress::pack(&[&self.json, b"\n"])).clone()
    }
}

// === impl Documents ===

impl Documents {
    /// The documents of these kinds.
    pub(crate) fn of<'a>(kinds: impl IntoIterator<Item = &'a Arc<Kind>>) -> Self {
        let groups = &Groups::of(kinds);
        let plain = plain::documents(groups).into_iter();
        let plain = plain.map(|(path, json)| (path, Document::new(json, None, None))).collect();
        Self { plain, aggregated: aggregated::documents(groups) }
    }

    /// The document under a path, with or without a trailing slash; `None` if there is none. `/api`
    /// and `/apis` are aggregated for clients that request it.
    pub(crate) fn find(&self, path: &str, accept: &str) -> Option<Document> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(root) = ["/api", "/apis"].into_iter().find(|root| *root == path)
            && let Wanted::Aggregated(version) = accept::wanted(accept)
            && let Some(document) = self.aggregated.get(&(root, version))
        {
            return Some(document.clone());
        }
        self.plain.get(path).cloned()
    }
}

#[cfg(test)]
mod tests;
