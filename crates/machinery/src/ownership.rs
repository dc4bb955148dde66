//! Field ownership (`metadata.managedFields`) and server-side apply, after
//! `sigs.k8s.io/structured-merge-diff` and the API server's field manager.
//!
//! ```text
//!  update: live, new ──▶ compare ──▶ changed fields go to the manager, leave the others
//!  apply:  live, config ──▶ merge ──▶ prune what the manager gave up ──▶ compare ──▶ conflicts?
//! ```
//!
//! Owns the sets, the comparison and the entries. It never stores anything and never decides
//! which fields a subresource may write; the caller names those to be ignored.
//!
//! ```
//! use mxjob_machinery::ownership::{OBJECT, Options, Set, apply, update};
//! use serde_json::json;
//!
//! let ignored = Set::of_fields(&[&["status"]]);
//! let options = |manager| Options {
//!     manager,
//!     subresource: None,
//!     api_version: "kubeflow.org/v1",
//!     now: "2026-11-24T08:00:00Z".parse().unwrap_or_default(),
//!     ignored: &ignored,
//!     shape: &OBJECT,
//! };
//! let mut job = json!({"metadata": {"name": "digits", "uid": "u"}, "spec": {"ttl": 10}});
//! update(None, &mut job, &options("someone"));
//! assert_eq!(job["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:spec": {".": {}, "f:ttl": {}}}));
//!
//! let config = json!({"metadata": {"name": "digits"}, "spec": {"ttl": 20}});
//! let error = apply(Some(&job), &config, false, &options("other")).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "Apply failed with 1 conflict: conflict with \"someone\" using kubeflow.org/v1: .spec.ttl"
//! );
//! ```

mod apply;
mod compare;
mod last_applied;
mod managers;
mod merge;
mod set;
mod shape;
mod tree;
mod typed;
mod update;

use jiff::Timestamp;

pub use apply::{ApplyError, Conflict, Conflicts};
pub use last_applied::apply;
pub use managers::same_but_for_times;
pub use set::{DecodeSetError, Element, Path, Set};
pub use shape::{OBJECT, OBJECT_META, Shape};
pub use typed::config_problem;
pub use update::update;

/// Who writes, when, and what of the object counts.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The subresource written to; `None` for the object itself.
    pub subresource: Option<&'a str>,
    /// The version of the API in which the fields are named.
    pub api_version: &'a str,
    /// The time of the request.
    pub now: Timestamp,
    /// Fields this request cannot write (with all below them): `status` on the object itself,
    /// `spec` on the status.
    pub ignored: &'a Set,
    /// How lists and maps of the kind are merged.
    pub shape: &'a Shape,
}

#[cfg(test)]
mod tests;
