//! Events about created and deleted objects: few, however many objects a job has.
//!
//! Each of the first pods has an event of its own, since users look for a pod by its name. All
//! others of one pass share one, and so do all services.

use super::Effects;
use crate::event::EventKind;
use crate::executor::requests::Child;

/// The number of pods of one pass with an event each: with the shared one they are fewer than the
/// similar events that a writer combines.
const MAX_SINGLE: usize = 8;
/// The number of names in a shared event.
const MAX_NAMES: usize = 20;

/// An object that was created or deleted.
pub(super) struct Done {
    pub(super) name: String,
    pub(super) uid: String,
}

/// What was done: in the reason, and in the message.
pub(super) struct Action {
    reason: &'static str,
    past: &'static str,
}

pub(super) const CREATED: Action = Action { reason: "SuccessfulCreate", past: "Created" };
pub(super) const STOPPED: Action = Action { reason: "SuccessfulStop", past: "Stopped" };
pub(super) const DELETED: Action = Action { reason: "SuccessfulDelete", past: "Deleted" };

impl Effects<'_> {
    /// Records the events about what was done in one pass.
    pub(super) fn announce(self, action: &Action, child: Child, mut done: Vec<Done>) {
        done.sort_by(|a, b| a.name.cmp(&b.name));
        for group in groups(child, &done) {
            let message = format!("{} {}", action.past, describe(child, group));
            let uids: Vec<&str> = group.iter().map(|one| one.uid.as_str()).collect();
            let reason = format!("{}{}", action.reason, child.kind());
            self.record(EventKind::Normal, reason, message, &uids.join(" "));
        }
    }
}

/// The objects that share an event each.
fn groups(child: Child, done: &[Done]) -> impl Iterator<Item = &[Done]> {
    let single = match child {
        Child::Pod => done.len().min(MAX_SINGLE),
        Child::Service | Child::PodGroup(_) => 0,
    };
    let (single, shared) = done.split_at_checked(single).unwrap_or((done, &[]));
    single.chunks(1).chain((!shared.is_empty()).then_some(shared))
}

fn describe(child: Child, group: &[Done]) -> String {
    let names: Vec<&str> = group.iter().take(MAX_NAMES).map(|one| one.name.as_str()).collect();
    let plural = if group.len() > 1 { "s" } else { "" };
    let more = match group.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{plural}: {}{more}", child.noun(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(child: Child, count: usize) -> Vec<String> {
        let done: Vec<Done> =
            (0..count).map(|n| Done { name: format!("n{n:02}"), uid: String::new() }).collect();
        groups(child, &done).map(|group| describe(child, group)).collect()
    }

    #[test]
    fn many_objects_have_few_events() {
        assert_eq!(described(Child::Service, 0), [""; 0]);
        assert_eq!(described(Child::Service, 1), ["service: n00"]);
        assert_eq!(described(Child::Service, 3), ["services: n00, n01, n02"]);
        assert_eq!(described(Child::Pod, 2), ["pod: n00", "pod: n01"]);
        let many = described(Child::Pod, 45);
        assert_eq!(many.len(), MAX_SINGLE + 1);
        assert_eq!(many[7], "pod: n07");
        assert!(many[8].starts_with("pods: n08, n09, "), "{}", many[8]);
        assert!(many[8].ends_with(", n26, n27 and 17 more"), "{}", many[8]);
    }
}
