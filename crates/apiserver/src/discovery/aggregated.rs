//! Aggregated discovery: all groups in one document (upstream's `apidiscovery.k8s.io`), which saves
//! `kubectl` one request for each group.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::discovery::{Document, Groups, Versions, etag, json};
use crate::kind::{Kind, Subresource, Text};

/// A version of `apidiscovery.k8s.io`. Both have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V2,
    V2beta1,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroupDiscoveryList<'a> {
    kind: &'static str,
    api_version: String,
    metadata: Empty,
    items: &'a [ApiGroupDiscovery<'a>],
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct ApiGroupDiscovery<'a> {
    metadata: Metadata<'a>,
    versions: Vec<ApiVersionDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    creation_timestamp: Option<()>,
}

#[derive(Serialize)]
struct ApiVersionDiscovery<'a> {
    version: &'a str,
    resources: Vec<ApiResourceDiscovery<'a>>,
    freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceDiscovery<'a> {
    resource: &'a str,
    response_kind: ResponseKind<'a>,
    scope: &'static str,
    singular_resource: &'a str,
    verbs: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [Text],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [Text],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<ApiSubresourceDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiSubresourceDiscovery<'a> {
    subresource: &'a str,
    response_kind: ResponseKind<'a>,
    verbs: &'a [&'a str],
}

#[derive(Serialize)]
struct ResponseKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

/// The documents of `/api` and `/apis` in both versions.
pub(super) fn documents(groups: &Groups<'_>) -> BTreeMap<(&'static str, Version), Document> {
    let core: Vec<_> = groups.core().map(|versions| group("", versions)).into_iter().collect();
    let named: Vec<_> = groups.named().map(|(name, versions)| group(name, versions)).collect();
    let mut documents = BTreeMap::new();
    for (root, items) in [("/api", core), ("/apis", named)] {
        // The tag is that of the content, so both versions have the same one, as upstream's do.
        let etag = etag(&json(&items));
        for version in [Version::V2, Version::V2beta1] {
            let list = ApiGroupDiscoveryList {
                kind: "APIGroupDiscoveryList",
                api_version: format!("apidiscovery.k8s.io/{}", version.as_str()),
                metadata: Empty {},
                items: &items,
            };
            let content_type = Some(version.content_type());
            let document = Document::new(json(&list), content_type, Some(etag.clone()));
            documents.insert((root, version), document);
        }
    }
    documents
}

fn group<'a>(name: &'a str, versions: &Versions<'a>) -> ApiGroupDiscovery<'a> {
    let versions = versions
        .iter()
        .map(|(version, kinds)| ApiVersionDiscovery {
            version,
            resources: kinds.iter().map(|kind| resource(kind)).collect(),
            freshness: "Current",
        })
        .collect();
    ApiGroupDiscovery { metadata: Metadata { name, creation_timestamp: None }, versions }
}

fn resource(kind: &Kind) -> ApiResourceDiscovery<'_> {
    let mut subresources: Vec<&Subresource> = kind.subresources.iter().collect();
    subresources.sort_by_key(|subresource| subresource.name);
    // Upstream leaves group and version empty for built-in kinds, which means the parent's, and
    // sets them for custom ones.
    let (group, version) = if kind.conventions.explicit_response_kind {
        (&*kind.group, &*kind.version)
    } else {
        ("", "")
    };
    let own = |kind| ResponseKind { group, version, kind };
    let subresources = subresources
        .into_iter()
        .map(|subresource| ApiSubresourceDiscovery {
            subresource: subresource.name,
            response_kind: match subresource.body {
                Some((group, version, body)) if group != kind.group || version != kind.version => {
                    ResponseKind { group, version, kind: body }
                }
                Some((_, _, body)) => own(body),
                None => own(&kind.kind),
            },
            verbs: subresource.verbs,
        })
        .collect();
    ApiResourceDiscovery {
        resource: &kind.plural,
        response_kind: own(&kind.kind),
        scope: if kind.namespaced { "Namespaced" } else { "Cluster" },
        singular_resource: &kind.singular,
        verbs: kind.verbs,
        short_names: &kind.short_names,
        categories: &kind.categories,
        subresources,
    }
}

// === impl Version ===

impl Version {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::V2, Self::V2beta1].into_iter().find(|version| version.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2beta1 => "v2beta1",
        }
    }

    fn content_type(self) -> String {
        format!(
            "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList",
            self.as_str()
        )
    }
}
