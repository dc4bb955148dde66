//! The class of claims that name none (upstream's `DefaultStorageClass` plug-in).

use mxjob_machinery::json::text;
use serde_json::Value;

use super::stored;
use crate::context::Context;
use crate::document;
use crate::kinds::storage::{has_class, is_default_class};

/// Gives a claim without a class the default one: the newest, where there are several.
pub(super) fn choose_class(context: &Context<'_>, claim: &mut Value) {
    if has_class(claim) {
        return;
    }
    let entries = stored(&context.services.store, "storage.k8s.io", "v1", "storageclasses", None);
    let classes = entries.iter().map(|entry| document::decode(&entry.value));
    let newest = classes.filter(is_default_class).max_by(|a, b| {
        let created = |class| text(class, "/metadata/creationTimestamp");
        // Of two that are equally old, the first by name.
        let name = |class| document::meta_str(class, "name");
        created(a).cmp(created(b)).then_with(|| name(b).cmp(name(a)))
    });
    let spec = claim.get_mut("spec").and_then(Value::as_object_mut);
    if let (Some(class), Some(spec)) = (newest, spec) {
        spec.insert("storageClassName".to_owned(), document::meta_str(&class, "name").into());
    }
}
