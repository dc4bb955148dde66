//! Failing a job that is invalid and that API admission did not reject: nothing is created for it.

use jiff::Timestamp;
use mxjob_api::{ConditionStatus, ConditionType, JobStatus};

use super::NextStatus;
use crate::event::{Event, EventKind};
use crate::memory::Memory;

/// The reason of the condition and of the event.
pub(super) const REASON: &str = "MXJobFailedValidation";
/// Maximum length in bytes of the errors in a message: an event holds a kilobyte.
const ERRORS_MAX_BYTES: usize = 800;

/// The status of an invalid job, and the event about it. The job is finished and is not validated
/// again; the user has to create a corrected job.
pub(crate) fn refuse(name: &str, errors: &str, now: Timestamp) -> (NextStatus, Event) {
    let message = message(name, errors);
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

/// The message of the condition and the event.
pub(super) fn message(name: &str, errors: &str) -> String {
    format!("MXJob {name} is failed because it is not valid: {}", shown(errors))
}

fn shown(errors: &str) -> String {
    if errors.len() <= ERRORS_MAX_BYTES {
        return errors.to_owned();
    }
    let end = (0..=ERRORS_MAX_BYTES).rev().find(|end| errors.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", errors.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_invalid_job_has_failed_with_the_reason() {
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
    fn a_long_list_of_errors_fits_an_event() {
        let (_, event) =
            refuse("digits", &"é".repeat(1000), "2026-11-24T08:00:00Z".parse().unwrap());
        assert!(event.message.len() < 1024 && event.message.ends_with("é…"));
    }
}
