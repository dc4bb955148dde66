//! Small controllers that keep derived objects as they should be: the rules of aggregating roles, and the service account
//! `default` of every namespace. Upstream runs them in its controller manager.
//!
//! They look at the store, as the garbage collector does, and act through the API like any client, with rights of their
//! own. They compare what is with what should be; nothing depends on the order in which they hear of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::select_all;
use http::{Method, StatusCode};
use mxjob_store::{ListOptions, Store, Watch};
use serde_json::{Value, json};

use crate::client::Connector;
use crate::document;
use crate::registry;
use crate::server::ApiServer;
use mxjob_access::authz::aggregation;
use mxjob_access::authz::policy::GROUP;
use mxjob_access::identity::Identity;
use mxjob_machinery::json::list;

const ROLES: &str = "/registry/rbac.authorization.k8s.io/clusterroles/";
const NAMESPACES: &str = "/registry/namespaces/";
const ACCOUNTS: &str = "/registry/serviceaccounts/";
const CONTROLLERS: &str = "kube-system";
const DEFAULT_ACCOUNT: &str = "default";
/// What failed is tried again after this long, or at the next change.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps things up until `shutdown`.
pub async fn run(server: ApiServer, shutdown: impl Future<Output = ()>) {
    let keeper = |duty, name: &str| {
        let api = server.connector(Identity::service_account(CONTROLLERS, name, ""), name);
        Keeper { store: server.store().clone(), api, duty }
    };
    let roles = keeper(Duty::Roles, "clusterrole-aggregation-controller");
    let accounts = keeper(Duty::Accounts, "service-account-controller");
    tokio::select! {
        () = shutdown => {}
        () = roles.keep() => {}
        () = accounts.keep() => {}
    }
}

/// Whether all that was to be done is done.
type Settled = bool;

/// What a keeper keeps up.
#[derive(Debug, Clone, Copy)]
enum Duty {
    Roles,
    Accounts,
}

struct Keeper {
    store: Store,
    api: Connector,
    duty: Duty,
}

impl Keeper {
    /// Does the work now and after every change that may matter.
    async fn keep(&self) {
        loop {
            // Watching begins before the work, so that no change between the two is missed.
            let after = self.store.revision();
            let watches = self.duty.prefixes().iter().map(|prefix| self.store.watch(prefix, after));
            let watches: Result<Vec<Watch>, _> = watches.collect();
            let Ok(watches) = watches else { return std::future::pending().await };
            let mut events = select_all(watches).ready_chunks(1024);
            loop {
                let settled = match self.duty {
                    Duty::Roles => aggregate(&self.store, &self.api).await,
                    Duty::Accounts => default_accounts(&self.store, &self.api).await,
                };
                let retry = async {
                    if settled {
                        std::future::pending().await
                    } else {
                        tokio::time::sleep(RETRY).await
                    }
                };
                tokio::select! {
                    chunk = events.next() => match chunk {
                        Some(chunk) if chunk.iter().all(Result::is_ok) => {}
                        Some(_) => break, // the log was cut off
                        None => return std::future::pending().await, // the store is closed
                    },
                    () = retry => {}
                }
            }
        }
    }
}

impl Duty {
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Roles => &[ROLES],
            Self::Accounts => &[NAMESPACES, ACCOUNTS],
        }
    }
}

/// Gives every aggregating role its rules.
async fn aggregate(store: &Store, api: &Connector) -> Settled {
    let roles = objects(store, ROLES);
    let all: Vec<&Value> = roles.iter().collect();
    let mut settled = true;
    for role in &roles {
        let Some(rules) = aggregation::rules(role, &all) else { continue };
        if list(role, "/rules") == rules {
            continue;
        }
        let name = document::meta_str(role, "name");
        let path = format!("/apis/{GROUP}/v1/clusterroles/{name}");
        let version = document::meta_str(role, "resourceVersion");
        let patch = json!({ "metadata": { "resourceVersion": version }, "rules": rules });
        let (status, answer) =
            api.send(Method::PATCH, &path, "application/merge-patch+json", Some(&patch)).await;
        // A conflict says that there is news already, or soon.
        settled &= is_settled(status, &answer, &path);
    }
    settled
}

/// Makes the missing `default` accounts.
async fn default_accounts(store: &Store, api: &Connector) -> Settled {
    let Some(kind) = registry::find("", "v1", "serviceaccounts") else { return true };
    let namespaces: BTreeSet<String> = objects(store, NAMESPACES)
        .iter()
        .filter(|namespace| !document::is_terminating(namespace))
        .map(|namespace| document::meta_str(namespace, "name").to_owned())
        .collect();
    let mut settled = true;
    for namespace in namespaces {
        if store.get(&kind.key(&namespace, DEFAULT_ACCOUNT)).is_some() {
            continue;
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": DEFAULT_ACCOUNT } });
        let (status, answer) =
            api.send(Method::POST, &path, "application/json", Some(&account)).await;
        settled &= is_settled(status, &answer, &path);
    }
    settled
}

fn is_settled(status: StatusCode, answer: &Value, path: &str) -> Settled {
    let settled = status.is_success() || matches!(status, StatusCode::CONFLICT | StatusCode::NOT_FOUND)
        // The namespace has begun to go meanwhile.
        || status == StatusCode::FORBIDDEN && answer["message"].as_str().is_some_and(|text| text.contains("being terminated"));
    if !settled {
        tracing::warn!(path, %status, message = answer["message"].as_str(), "will try again");
    }
    settled
}

fn objects(store: &Store, prefix: &str) -> Vec<Value> {
    let page = store.list(prefix, &ListOptions::default());
    page.map(|page| page.entries.iter().map(|entry| document::decode(&entry.value)).collect())
        .unwrap_or_default()
}
