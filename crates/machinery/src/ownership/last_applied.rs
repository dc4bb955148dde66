//! Server-side apply with what upstream adds for `kubectl`: an object that `kubectl apply` wrote
//! before is taken over without conflicts, and its annotation stays up to date, so that a user may
//! go back to `kubectl apply` without `--server-side`.

use serde_json::{Map, Value};

use super::{
    Options,
    apply::{self, ApplyError},
    managers,
    set::Set,
    tree::fields_of,
};

/// The annotation in which `kubectl apply` keeps the last configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of `kubectl apply --server-side`, unless another one is named.
const KUBECTL: &str = "kubectl";
/// The longest annotations of an object, keys and values, in bytes (upstream's limit).
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Applies a configuration for `options.manager` and gives the object to be stored, its managed
/// fields set. `live` is `None` if the object does not exist yet.
///
/// Fields of the configuration are set, and become the manager's together with any manager that
/// holds the same value; fields it applied before and leaves out now are removed unless somebody
/// else owns them. A change of a field that others own is a conflict, unless forced, which takes it
/// from them.
///
/// The manager `kubectl` also takes the fields that it has recorded in its annotation (upstream's
/// `lastAppliedManager`), and an annotation that is there follows the configuration
/// (`lastAppliedUpdater`).
///
/// # Errors
///
/// Fields that others own, or a configuration with managed fields.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    force: bool,
    options: &Options<'_>,
) -> Result<Value, ApplyError> {
    if options.manager != KUBECTL {
        return apply::apply(live, config, force, options);
    }
    let mut object = match apply::apply(live, config, force, options) {
        Err(ApplyError::Conflicts(conflicts)) => {
            let recorded = live.and_then(|live| recorded_fields(live, options));
            let conflicts = conflicts.without(&recorded.unwrap_or_default());
            if conflicts.iter().next().is_some() {
                return Err(ApplyError::Conflicts(conflicts));
            }
            apply::apply(live, config, true, options)?
        }
        applied => applied?,
    };
    update_annotation(&mut object, config);
    Ok(object)
}

/// The fields of the configuration in the annotation.
fn recorded_fields(live: &Value, options: &Options<'_>) -> Option<Set> {
    let text = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let recorded = crate::json::decode(text.as_bytes()).ok()?;
    Some(fields_of(&recorded, options.shape))
}

/// Sets the annotation to the configuration, if the object has it; removes it if it grew too long.
fn update_annotation(object: &mut Value, config: &Value) {
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return };
    if annotations.get(LAST_APPLIED).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    managers::take_field(&mut config);
    let own = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(own) = own {
        own.remove(LAST_APPLIED);
    }
    // With the line break that kubectl writes.
    annotations.insert(LAST_APPLIED.to_owned(), format!("{config}\n").into());
    if size(annotations) > ANNOTATIONS_MAX {
        annotations.remove(LAST_APPLIED);
    }
}

fn size(annotations: &Map<String, Value>) -> usize {
    let entry = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    annotations.iter().map(entry).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{OBJECT, update};
    use super::*;

    fn options<'a>(manager: &'a str, ignored: &'a Set) -> Options<'a> {
        Options {
            manager,
            subresource: None,
            api_version: "v1",
            now: "2026-12-01T08:00:00Z".parse().unwrap(),
            ignored,
            shape: &OBJECT,
        }
    }

    /// An object as `kubectl apply` writes it; somebody else has set `other` since.
    fn applied_by_client(ignored: &Set) -> Value {
        let config = json!({"metadata": {"name": "a"}, "data": {"k": "1"}});
        let mut object = config.clone();
        object["metadata"]["annotations"] = json!({LAST_APPLIED: format!("{config}\n")});
        update(None, &mut object, &options("kubectl-client-side-apply", ignored));
        let mut changed = object.clone();
        changed["data"]["other"] = json!("1");
        update(Some(&object), &mut changed, &options("editor", ignored));
        changed
    }

    #[test]
    fn kubectl_takes_over_what_it_has_recorded() {
        let ignored = Set::new();
        let live = applied_by_client(&ignored);
        let config = json!({"metadata": {"name": "a"}, "data": {"k": "2"}});
        let applied = apply(Some(&live), &config, false, &options("kubectl", &ignored)).unwrap();
        assert_eq!(applied["data"], json!({"k": "2", "other": "1"}));
        let annotation = &applied["metadata"]["annotations"][LAST_APPLIED];
        assert_eq!(annotation, &json!(format!("{config}\n")));
        // Other managers, and other fields, conflict as before.
        apply(Some(&live), &config, false, &options("other", &ignored)).unwrap_err();
        let config = json!({"metadata": {"name": "a"}, "data": {"k": "2", "other": "2"}});
        let error = apply(Some(&live), &config, false, &options("kubectl", &ignored)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.other"
        );
    }

    #[test]
    fn an_annotation_that_is_too_long_is_removed_and_none_is_added() {
        let ignored = Set::new();
        let live = applied_by_client(&ignored);
        let large = "x".repeat(ANNOTATIONS_MAX);
        let config = json!({"metadata": {"name": "a"}, "data": {"k": large}});
        let options = options("kubectl", &ignored);
        let applied = apply(Some(&live), &config, false, &options).unwrap();
        assert_eq!(applied["metadata"]["annotations"].get(LAST_APPLIED), None);
        let small = json!({"metadata": {"name": "a"}, "data": {"k": "3"}});
        let applied = apply(Some(&applied), &small, false, &options).unwrap();
        assert_eq!(applied["metadata"]["annotations"].get(LAST_APPLIED), None);
    }
}
