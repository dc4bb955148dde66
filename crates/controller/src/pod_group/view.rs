//! The facts about a pod group that decide.

use serde_json::{Map, Value};

use crate::target::Target;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodGroupView {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) terminating: bool,
    /// `status.phase`; empty if the scheduler has not seen it yet.
    pub(crate) phase: String,
    /// Why its pods cannot be scheduled, in the wording of the scheduler.
    pub(crate) unschedulable: Option<String>,
    pub(crate) spec: Map<String, Value>,
}

impl PodGroupView {
    /// Reads a group; `None` if it is not a stored object.
    pub(crate) fn read(group: &Value) -> Option<Self> {
        let metadata = group.get("metadata")?;
        let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
        let phase = group.pointer("/status/phase").and_then(Value::as_str);
        Some(Self {
            name: text("name")?,
            uid: text("uid")?,
            terminating: metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
            phase: phase.unwrap_or_default().to_owned(),
            unschedulable: unschedulable(group),
            spec: group.get("spec").and_then(Value::as_object).cloned().unwrap_or_default(),
        })
    }

    /// Whether pods may be created for it.
    pub(crate) fn is_enqueued(&self) -> bool {
        !self.terminating && !matches!(self.phase.as_str(), "" | "Pending")
    }

    pub(crate) fn members(&self) -> u32 {
        let members = self.spec.get("minMember").and_then(Value::as_u64);
        members.and_then(|members| u32::try_from(members).ok()).unwrap_or(0)
    }

    /// The group to delete, unless it is terminating already.
    pub(crate) fn removable(&self) -> Option<Target> {
        (!self.terminating).then(|| Target { name: self.name.clone(), uid: self.uid.clone() })
    }
}

/// The message of the condition `Unschedulable`, unless `Scheduled` is newer.
fn unschedulable(group: &Value) -> Option<String> {
    let conditions = group.pointer("/status/conditions")?.as_array()?;
    let holds = |kind: &str| {
        conditions.iter().rev().find(|condition| {
            let text = |field: &str| condition.get(field).and_then(Value::as_str);
            text("type") == Some(kind) && text("status") == Some("True")
        })
    };
    let since = |condition: &Value| -> Option<String> {
        condition.get("lastTransitionTime")?.as_str().map(str::to_owned)
    };
    let unschedulable = holds("Unschedulable")?;
    if holds("Scheduled").is_some_and(|scheduled| since(scheduled) > since(unschedulable)) {
        return None;
    }
    let text = |field: &str| {
        unschedulable.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let message = text("message").or_else(|| text("reason"))?;
    Some(message.trim().trim_end_matches('.').to_owned())
}
