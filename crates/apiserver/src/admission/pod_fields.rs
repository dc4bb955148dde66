//! Fields of pods that this server's own node does not honour.
//!
//! Only for a server with such a node: in front of other nodes a field may well be honoured.

use mxjob_machinery::field::Errors;
use serde_json::Value;

use crate::context::Context;

/// The errors of an object that is written. Fields without effect are added to the warnings. What
/// `old` has, which an earlier release may have stored, stays possible and is not reported again.
pub(crate) fn check(context: &mut Context<'_>, old: Option<&Value>, new: &Value) -> Errors {
    if !context.services.process_node {
        return Errors::new();
    }
    let strategy = &context.kind.strategy;
    let found = strategy.pod_fields(new);
    if found.is_empty() {
        return found.refused;
    }
    let known = old.map(|old| strategy.pod_fields(old)).unwrap_or_default();
    for warning in found.warned.iter().filter(|warning| !known.warned.contains(warning)) {
        context.add_warning(warning.to_string());
    }
    found.refused.without(&known.refused)
}
