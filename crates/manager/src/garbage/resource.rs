//! The resources that the API serves.

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Discovery, Scope, verbs};
use mxjob_machinery::quota;

/// The resource of definitions of custom resources.
pub(super) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Many objects that own nothing and expire: as upstream, they are deleted with their namespace and
/// not with an owner.
const IGNORED: &str = "events";
/// Groups of which all objects are also served by another group.
const ALIASES: &[&str] = &["events.k8s.io"];

/// A resource whose objects can be listed, watched and deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// `deployments.apps`, `pods`: the name of its definition, if it has one.
    pub(super) id: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
}

/// Asks the API server what it serves: each resource once, in its most stable version.
pub(super) async fn discover(client: &Client) -> kube::Result<Vec<Resource>> {
    let discovery = Discovery::new(client.clone()).exclude(ALIASES).run_aggregated().await?;
    let mut resources = Vec::new();
    for (api, capabilities) in
        discovery.groups_alphabetical().into_iter().flat_map(|group| group.resources_by_stability())
    {
        let is_collected = [verbs::LIST, verbs::WATCH, verbs::DELETE]
            .into_iter()
            .all(|verb| capabilities.supports_operation(verb));
        if is_collected {
            let id = quota::Resource { group: &api.group, plural: &api.plural }.to_string();
            resources.push(Resource {
                id,
                group: api.group,
                version: api.version,
                kind: api.kind,
                plural: api.plural,
                namespaced: capabilities.scope == Scope::Namespaced,
            });
        }
    }
    Ok(resources)
}

// === impl Resource ===

impl Resource {
    pub(super) fn quota_resource(&self) -> quota::Resource<'_> {
        quota::Resource { group: &self.group, plural: &self.plural }
    }

    /// Whether its objects are not watched.
    pub(super) fn is_ignored(&self) -> bool {
        self.id == IGNORED
    }

    pub(super) fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(&self.group, &self.version, &self.kind);
        ApiResource::from_gvk_with_plural(&kind, &self.plural)
    }

    /// The path of the collection in a namespace, or of the whole collection if that is empty.
    pub(super) fn collection_path(&self, namespace: &str) -> String {
        let namespace = (self.namespaced && !namespace.is_empty()).then_some(namespace);
        <mxjob_client::Raw as kube::Resource>::url_path(&self.api_resource(), namespace)
    }

    pub(super) fn object_path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection_path(namespace))
    }
}
