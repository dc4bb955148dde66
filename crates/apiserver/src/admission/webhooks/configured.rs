//! The webhooks that are configured on a server, and where they are reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use mxjob_store::{ListOptions, Revision, Store};
use parking_lot::Mutex;
use serde_json::Value;

use super::call::Connections;
use super::hook::{Hook, Target};
use super::review::CallError;
use crate::document;

/// Where configurations are stored.
const PREFIX: &str = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";

/// The webhooks of a server.
#[derive(Debug)]
pub(crate) struct Webhooks {
    /// `HOST:PORT` by namespace and name of a service.
    services: BTreeMap<(String, String), String>,
    /// Locked while configurations are read, never while a webhook is called.
    known: Mutex<Known>,
    pub(super) connections: Connections,
}

/// The hooks of the configurations at these revisions.
#[derive(Debug, Default)]
struct Known {
    revisions: Vec<Revision>,
    hooks: Arc<Vec<Arc<Hook>>>,
}

// === impl Webhooks ===

impl Webhooks {
    pub(crate) fn new(services: BTreeMap<(String, String), String>) -> Self {
        Self { services, known: Mutex::default(), connections: Connections::default() }
    }

    /// All hooks, by the names of their configurations.
    pub(super) fn hooks(&self, store: &Store) -> Arc<Vec<Arc<Hook>>> {
        let page = store.list(PREFIX, &ListOptions::default()).map(|page| page.entries);
        let entries = page.unwrap_or_default();
        let mut known = self.known.lock();
        if !entries.iter().map(|entry| entry.revision).eq(known.revisions.iter().copied()) {
            known.revisions = entries.iter().map(|entry| entry.revision).collect();
            let configurations = entries.iter().map(|entry| document::decode(&entry.value));
            let hooks = configurations.flat_map(|configuration| Hook::all(&configuration));
            known.hooks = Arc::new(hooks.map(Arc::new).collect());
        }
        Arc::clone(&known.hooks)
    }

    /// Where a hook's service is: at the configured address, or at the first of its endpoints.
    pub(super) fn address(&self, store: &Store, hook: &Hook) -> Result<String, CallError> {
        let service = match &hook.target {
            Target::Address(address) => return Ok(address.clone()),
            Target::Unusable(why) => return Err(CallError(why.clone())),
            Target::Service(service) => service,
        };
        let key = (service.namespace.clone(), service.name.clone());
        if let Some(address) = self.services.get(&key) {
            return Ok(address.clone());
        }
        let of =
            |plural: &str| format!("/registry/{plural}/{}/{}", service.namespace, service.name);
        if store.get(&of("services")).is_none() {
            return Err(CallError(format!("service {:?} not found", service.name)));
        }
        let endpoints = store.get(&of("endpoints"));
        let endpoints = endpoints.map(|entry| document::decode(&entry.value)).unwrap_or_default();
        let ip = endpoints.pointer("/subsets/0/addresses/0/ip").and_then(Value::as_str);
        let port = endpoints.pointer("/subsets/0/ports/0/port").and_then(Value::as_u64);
        match (ip, port) {
            (Some(ip), Some(port)) if ip.contains(':') => Ok(format!("[{ip}]:{port}")),
            (Some(ip), Some(port)) => Ok(format!("{ip}:{port}")),
            _ => Err(CallError(format!("no endpoints available for service {:?}", service.name))),
        }
    }
}
