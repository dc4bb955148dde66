//! Plain discovery: `/api`, `/apis` and the documents below them (upstream's `APIVersions`,
//! `APIGroupList`, `APIGroup` and `APIResourceList`).

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::discovery::{Groups, json, root};
use crate::kind::{Kind, Text};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiVersions<'a> {
    kind: &'static str,
    versions: Vec<&'a str>,
    /// For clients that connect through a proxy of another address. This server does not know its
    /// external addresses, so the list is empty.
    #[serde(rename = "serverAddressByClientCIDRs")]
    server_address_by_client_cidrs: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroupList<'a> {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<ApiGroup<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'a str,
    versions: Vec<GroupVersion<'a>>,
    preferred_version: Option<GroupVersion<'a>>,
}

#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
struct GroupVersion<'a> {
    group_version: String,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList<'a> {
    kind: &'static str,
    /// Omitted in the core group, as upstream does.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: String,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    kind: &'a str,
    verbs: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [Text],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [Text],
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_version_hash: String,
}

/// Every plain document by its path.
pub(super) fn documents(groups: &Groups<'_>) -> BTreeMap<String, Vec<u8>> {
    let mut documents = BTreeMap::new();
    if let Some(core) = groups.core() {
        let versions = core.iter().map(|(version, _)| *version).collect();
        let document =
            ApiVersions { kind: "APIVersions", versions, server_address_by_client_cidrs: [] };
        documents.insert("/api".to_owned(), json(&document));
    }
    let listed =
        groups.named().map(|(group, versions)| api_group(group, versions, false)).collect();
    let list = ApiGroupList { kind: "APIGroupList", api_version: "v1", groups: listed };
    documents.insert("/apis".to_owned(), json(&list));
    for (group, versions) in groups.named() {
        documents.insert(format!("/apis/{group}"), json(&api_group(group, versions, true)));
    }
    for (group, version, kinds) in groups.versions() {
        let list = ApiResourceList {
            kind: "APIResourceList",
            api_version: (!group.is_empty()).then_some("v1"),
            group_version: group_version(group, version),
            resources: kinds.iter().flat_map(|kind| resources(kind)).collect(),
        };
        documents.insert(root(group, version), json(&list));
    }
    let paths: Vec<&str> =
        documents.keys().map(String::as_str).chain(OTHER_PATHS.iter().copied()).collect();
    let index = json(&BTreeMap::from([("paths", paths)]));
    // The root path is `/`, and the look-up strips the trailing slash.
    documents.insert(String::new(), index);
    documents
}

/// Other paths in the index.
const OTHER_PATHS: &[&str] =
    &["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];

fn api_group<'a>(group: &'a str, versions: &[(&'a str, Vec<&Kind>)], alone: bool) -> ApiGroup<'a> {
    let versions: Vec<_> = versions
        .iter()
        .map(|(version, _)| GroupVersion { group_version: group_version(group, version), version })
        .collect();
    ApiGroup {
        kind: alone.then_some("APIGroup"),
        api_version: alone.then_some("v1"),
        name: group,
        preferred_version: versions.first().cloned(),
        versions,
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A kind's resource and its subresources, by name.
fn resources(kind: &Kind) -> Vec<ApiResource<'_>> {
    let mut resources = vec![ApiResource {
        name: kind.plural.to_string(),
        singular_name: &kind.singular,
        namespaced: kind.namespaced,
        group: "",
        version: "",
        kind: &kind.kind,
        verbs: kind.verbs,
        short_names: &kind.short_names,
        categories: &kind.categories,
        storage_version_hash: storage_version_hash(kind),
    }];
    let mut subresources: Vec<_> = kind.subresources.iter().collect();
    subresources.sort_by_key(|subresource| subresource.name);
    resources.extend(subresources.into_iter().map(|subresource| {
        let parent = kind.gvk();
        let (group, version, body) = subresource.body.unwrap_or(parent);
        // Present only if they differ from the parent's.
        let same = (group, version) == (parent.0, parent.1);
        ApiResource {
            name: format!("{}/{}", kind.plural, subresource.name),
            singular_name: "",
            namespaced: kind.namespaced,
            group: if same { "" } else { group },
            version: if same { "" } else { version },
            kind: body,
            verbs: subresource.verbs,
            short_names: &[],
            categories: &[],
            storage_version_hash: String::new(),
        }
    }));
    resources
}

/// Upstream's `discovery.StorageVersionHash`: the first eight bytes of a SHA-256, in base64.
fn storage_version_hash(kind: &Kind) -> String {
    let text = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
    let digest = digest(&SHA256, text.as_bytes());
    BASE64_STANDARD.encode(digest.as_ref().get(..8).unwrap_or_default())
}
