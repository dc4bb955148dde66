//! Rights that a write takes in addition to the right to its verb. Nobody may grant rights that
//! they do not have: upstream's `pkg/registry/rbac/*/policybased`.

use std::collections::BTreeSet;

use mxjob_access::authz::policy::{GROUP, MissingRole, RoleRef, missing_reason};
use mxjob_access::authz::rules::{self, Rule};
use mxjob_access::authz::{self, Attributes, Verb};
use mxjob_access::identity::SYSTEM_MASTERS;
use mxjob_machinery::names::ObjectName;
use serde_json::{Value, json};

use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::strategy::Grant;

/// Checks these rights: a replace or a patch that creates an object takes the right to create, and
/// a role or a binding takes the rights that it grants.
///
/// # Errors
/// 403 where the writer lacks a right; 404 where the role of a binding does not exist.
pub(crate) fn check(
    context: &Context<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), ApiError> {
    if context.identity.is_member(SYSTEM_MASTERS) {
        return Ok(());
    }
    if old.is_none() && context.path.name.is_some() {
        check_create(context)?;
    }
    match context.kind.strategy.grant() {
        None => Ok(()),
        Some(_) if only_metadata_changes(old, new) => Ok(()),
        Some(Grant::Role) => check_role(context, old, new),
        Some(Grant::Binding) => check_binding(context, new),
    }
}

/// For a replace or a patch that creates an object.
fn check_create(context: &Context<'_>) -> Result<(), ApiError> {
    let kind = context.shown;
    let attributes = Attributes {
        group: &kind.group,
        version: &kind.version,
        resource: &kind.plural,
        namespace: context.path.namespace,
        name: context.path.name,
        ..Attributes::new(context.identity, Verb::Create)
    };
    let decision = context.services.authorizer.authorize(&attributes);
    if decision.is_allowed() {
        return Ok(());
    }
    let message = authz::message(&attributes, &decision.reason());
    Err(ApiError::forbidden(message, authz::details(&attributes)))
}

fn check_role(context: &Context<'_>, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    let name = document::meta_str(new, "name");
    if may(context, "escalate", &context.kind.plural, name) {
        return Ok(());
    }
    confirm(context, name, &Rule::of_role(new))?;
    // An aggregation rule can select any rights, now or later.
    if aggregates(new) || old.is_some_and(aggregates) {
        let everything = [Rule::on(&["*"], &["*"], &["*"]), Rule::on_paths(&["*"], &["*"])];
        confirm(context, name, &everything).map_err(|_| {
            forbidden(
                context,
                name,
                "must have cluster-admin privileges to use the aggregationRule",
            )
        })?;
    }
    Ok(())
}

fn check_binding(context: &Context<'_>, new: &Value) -> Result<(), ApiError> {
    let role = RoleRef::read(new);
    if may(context, "bind", role.resource(), &role.name) {
        return Ok(());
    }
    let policy = context.services.authorizer.policy();
    let rules =
        policy.role(&role, context.path.namespace).map_err(|missing| not_found(&missing))?;
    confirm(context, document::meta_str(new, "name"), rules)
}

fn may(context: &Context<'_>, verb: &str, resource: &str, name: &str) -> bool {
    let attributes = Attributes {
        group: GROUP,
        version: "v1",
        resource,
        namespace: context.path.namespace,
        name: ObjectName::new(name),
        ..Attributes::new(context.identity, Verb::parse(verb))
    };
    context.services.authorizer.authorize(&attributes).is_allowed()
}

/// The writer must have all of the `granted` rules in the namespace, or in the cluster.
fn confirm(context: &Context<'_>, name: &str, granted: &[Rule]) -> Result<(), ApiError> {
    let identity = context.identity;
    let held = context.services.authorizer.policy().rules_of(identity, context.path.namespace);
    let missing = rules::missing(&held.rules, granted);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = rules::compact(missing).iter().map(Rule::to_string).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        &*identity.name,
        rules::quoted(&identity.groups),
        lines.join("\n")
    );
    let errors = missing_reason(&held.missing);
    if let Some(errors) = errors.strip_prefix("RBAC: ") {
        why.push_str("; resolution errors: [");
        why.push_str(errors.trim_start_matches('[').trim_end_matches(']'));
        why.push(']');
    }
    Err(forbidden(context, name, &why))
}

fn forbidden(context: &Context<'_>, name: &str, why: &str) -> ApiError {
    let kind = context.kind;
    let message = format!("{} {name:?} is forbidden: {why}", kind.qualified_resource());
    ApiError::forbidden(message, Some((name, &kind.group, &kind.plural)))
}

fn not_found(missing: &MissingRole) -> ApiError {
    let resource = if missing.0.cluster { "clusterrole" } else { "role" };
    ApiError::missing(missing.to_string(), (&missing.0.name, GROUP, resource))
}

fn aggregates(role: &Value) -> bool {
    role.get("aggregationRule").is_some_and(|rule| !rule.is_null())
}

/// Whether nothing that grants rights changes: labels and finalizers take no further rights.
fn only_metadata_changes(old: Option<&Value>, new: &Value) -> bool {
    const GRANTING: [&str; 4] = ["rules", "aggregationRule", "roleRef", "subjects"];
    let empty = |value: Option<&Value>| {
        value.filter(|value| !value.is_null() && **value != json!([])).cloned()
    };
    old.is_some_and(|old| {
        GRANTING.iter().all(|field| empty(old.get(field)) == empty(new.get(field)))
    })
}
