//! Priority classes of pods (upstream's `priority` plug-in).

use mxjob_machinery::json::text;
use mxjob_machinery::names::ObjectName;
use mxjob_store::Store;
use serde_json::Value;

use super::{refused, stored};
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::kinds::priority;

const GROUP: &str = "scheduling.k8s.io";
/// The preemption policy of pods without a class; their priority is 0.
const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// Writes a pod's priority into its spec.
///
/// # Errors
/// 403 where the class does not exist, or the pod brings another number than its class has.
pub(super) fn resolve(context: &Context<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = text(pod, "/metadata/name").to_owned();
    let refuse = |why: &str| Err(refused(context.kind, &name, why));
    let asked = text(pod, "/spec/priorityClassName").to_owned();
    let store = &context.services.store;
    let class = if asked.is_empty() { global_default(store) } else { find(store, &asked) };
    let (class_name, number, policy) = match &class {
        Some(class) => (
            document::meta_str(class, "name"),
            priority::value(class),
            text(class, "/preemptionPolicy"),
        ),
        None if asked.is_empty() => ("", 0, DEFAULT_POLICY),
        None => return refuse(&format!("no PriorityClass with name {asked} was found")),
    };
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    let given = spec.get("priority").and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != number) {
        return refuse(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {number} from the given PriorityClass name"
        ));
    }
    let policy = if policy.is_empty() { DEFAULT_POLICY } else { policy };
    let said = spec.get("preemptionPolicy").and_then(Value::as_str).unwrap_or(policy);
    if said != policy {
        return refuse(&format!(
            "the string value of PreemptionPolicy ({said}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    if !class_name.is_empty() {
        spec.insert("priorityClassName".to_owned(), class_name.into());
    }
    spec.insert("priority".to_owned(), number.into());
    spec.insert("preemptionPolicy".to_owned(), policy.into());
    Ok(())
}

/// There can be one default.
///
/// # Errors
/// 403 for a second one.
pub(super) fn check_global_default(context: &Context<'_>, object: &Value) -> Result<(), ApiError> {
    if !context.kind.strategy.is_global_default(object) {
        return Ok(());
    }
    let name = document::meta_str(object, "name");
    match global_default(&context.services.store) {
        Some(class) if document::meta_str(&class, "name") != name => {
            let other = document::meta_str(&class, "name");
            let why = format!(
                "PriorityClass {other} is already marked as default. Only one default can exist"
            );
            Err(refused(context.kind, name, &why))
        }
        _ => Ok(()),
    }
}

fn find(store: &Store, name: &str) -> Option<Value> {
    let kind = crate::registry::find(GROUP, "v1", "priorityclasses")?;
    Some(document::decode(&store.get(&kind.key(None, ObjectName::new(name)?))?.value))
}

fn global_default(store: &Store) -> Option<Value> {
    let classes = stored(store, GROUP, "v1", "priorityclasses", None);
    classes.iter().map(|entry| document::decode(&entry.value)).find(priority::is_global_default)
}
