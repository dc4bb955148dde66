//! The end of a job that slipped past admission: nothing is made for it, and it says why.

use super::{Event, EventKind, NextStatus};
use crate::memory::Memory;
use jiff::Timestamp;
use mxjob_api::{ConditionStatus, ConditionType, JobStatus};

/// The reason of the condition and of the event.
pub(super) const REASON: &str = "MXJobFailedValidation";
/// Longest list of faults in a message, in bytes: an event takes a kilobyte.
const FAULTS_MAX: usize = 800;

/// The status of a job that is not valid, and the event about it. It is over: it is not looked at again, and whoever mends it
/// makes it anew.
pub(crate) fn refuse(name: &str, faults: &str, now: Timestamp) -> (NextStatus, Event) {
    let message = message(name, faults);
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut status = JobStatus {
        completion_time: Some(now),
        last_reconcile_time: Some(now),
        ..JobStatus::default()
    };
    status.set_condition(ConditionType::Failed, ConditionStatus::True, REASON, &message, now);
    let event = Event { kind: EventKind::Warning, reason: REASON.to_owned(), message };
    (NextStatus { status, memory: Memory::default() }, event)
}

/// What the condition and the event say.
pub(super) fn message(name: &str, faults: &str) -> String {
    format!("MXJob {name} is failed because it is not valid: {}", shown(faults))
}

fn shown(faults: &str) -> String {
    if faults.len() <= FAULTS_MAX {
        return faults.to_owned();
    }
    let end = (0..=FAULTS_MAX).rev().find(|end| faults.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", faults.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refused_job_has_failed_and_says_why() {
        let now = "2026-11-24T08:00:00.7Z".parse().unwrap();
        let (next, event) = refuse("digits", "spec.jobMode: Unsupported value", now);
        let message =
            "MXJob digits is failed because it is not valid: spec.jobMode: Unsupported value";
        assert_eq!(
            next.to_value(),
            json!({
                "conditions": [{
                    "type": "Failed", "status": "True", "reason": "MXJobFailedValidation", "message": message,
                    "lastUpdateTime": "2026-11-24T08:00:00Z", "lastTransitionTime": "2026-11-24T08:00:00Z",
                }],
                "completionTime": "2026-11-24T08:00:00Z",
                "lastReconcileTime": "2026-11-24T08:00:00Z",
            })
        );
        assert_eq!((event.kind, event.message.as_str()), (EventKind::Warning, message));
    }

    #[test]
    fn a_long_list_of_faults_fits_an_event() {
        let (_, event) =
            refuse("digits", &"é".repeat(1000), "2026-11-24T08:00:00Z".parse().unwrap());
        assert!(event.message.len() < 1024 && event.message.ends_with("é…"));
    }
}
