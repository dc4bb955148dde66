//! What the controller manager of Kubernetes does, as far as this server needs it.
//!
//! | module | duty |
//! | --- | --- |
//! | [`garbage`] | deletes dependents of deleted objects and pods of deleted nodes, empties terminating namespaces, updates quota status |
//! | [`nodes`] | updates the readiness of nodes that stop reporting, and fails the pods of lost nodes |
//! | [`roles`] | gives aggregating cluster roles the rules of the roles that they select |
//! | [`accounts`] | creates the service account `default` of each namespace |
//! | [`root_ca`] | publishes the certificates of the API server in each namespace |
//! | [`endpoints`] | keeps endpoints and endpoint slices of services |
//! | [`ephemeral`] | creates the claims of ephemeral volumes |
//! | [`volumes`] | binds claims to volumes, makes and reclaims volumes |
//!
//! Each is a Kubernetes client with a service account of its own in the namespace [`NAMESPACE`]. It
//! compares what is with what should be, so lost or repeated events do no harm. Never does: read
//! the store, or decide what a job needs.

pub mod accounts;
mod api;
mod clock;
pub mod endpoints;
pub mod ephemeral;
pub mod garbage;
mod node_pods;
pub mod nodes;
pub mod roles;
pub mod root_ca;
pub mod volumes;

/// The namespace of the service accounts that the controllers use.
pub const NAMESPACE: &str = "kube-system";
