//! The rules of aggregating cluster roles.

use std::future::Future;

use http::Method;
use kube::Client;
use kube::runtime::reflector::Store;
use mxjob_client::Raw;
use mxjob_client::request::MERGE_PATCH;
use mxjob_machinery::json::list;
use mxjob_machinery::{object, role_aggregation};
use serde_json::{Value, json};

use crate::api::{self, Caches, Settled};

/// The service account of this controller.
pub const ACCOUNT: &str = "clusterrole-aggregation-controller";
const GROUP: &str = "rbac.authorization.k8s.io";

/// Updates the rules of aggregating cluster roles until `shutdown`.
pub async fn run(client: Client, shutdown: impl Future<Output = ()>) {
    let mut caches = Caches::new(client.clone());
    let roles = caches.add(&api::built_in(GROUP, "ClusterRole", "clusterroles"));
    let pass = || aggregate(&client, &roles);
    caches.run(&[&roles], pass, shutdown).await;
}

async fn aggregate(client: &Client, roles: &Store<Raw>) -> Settled {
    let mut roles = roles.state();
    roles.sort_by(|a, b| a.text("/metadata/name").cmp(b.text("/metadata/name")));
    let all: Vec<&Value> = roles.iter().map(|role| &role.value).collect();
    let mut settled = true;
    for &role in &all {
        let Some(rules) = role_aggregation::rules(role, &all) else { continue };
        if list(role, "/rules") == rules {
            continue;
        }
        let path = format!("/apis/{GROUP}/v1/clusterroles/{}", object::meta_str(role, "name"));
        let version = object::meta_str(role, "resourceVersion");
        let patch = json!({"metadata": {"resourceVersion": version}, "rules": rules});
        settled &= api::write(client, Method::PATCH, &path, MERGE_PATCH, Some(&patch)).await;
    }
    settled
}
