//! Kubernetes semantics as pure functions: names, selectors, metadata rules, patches, field
//! ownership, quantities and the `Status` object.
//!
//! Nothing here does I/O, waits, reads a clock or draws a random number; every function can be
//! tested by a table. Objects are [`serde_json::Value`]s, as they came in and as they are stored.
//! Wording follows Kubernetes wherever clients or people match on it.
//!
//! ```
//! use mxjob_machinery::{field, labels::Selector, metadata, patch};
//! use serde_json::json;
//!
//! let selector = Selector::parse("app in (digits, letters), !canary")?;
//! let job = json!({"metadata": {"name": "digits", "namespace": "ml", "labels": {"app": "digits"}}});
//! assert!(selector.matches(|key| job["metadata"]["labels"][key].as_str()));
//!
//! let changed = patch::merge_patch(&job, &json!({"metadata": {"name": "Digits"}}));
//! let meta = changed["metadata"].as_object().ok_or("not an object")?;
//! let errors = metadata::validate(meta, true, &field::Path::new("metadata"));
//! assert!(errors.to_string().starts_with("metadata.name: Invalid value: \"Digits\": a lowercase RFC 1123 subdomain"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod backoff;
mod cause;
pub mod environment;
pub mod error;
pub mod field;
pub mod fields;
mod go;
pub mod json;
pub mod labels;
pub mod merge_keys;
pub mod metadata;
pub mod names;
pub mod object;
pub mod ownership;
pub mod patch;
pub mod percent;
pub mod pod_fields;
pub mod pod_spec;
pub mod printer;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod role_aggregation;
pub mod schema;
pub mod status;
pub mod strategic;
mod text;
pub mod time;
pub mod yaml;
