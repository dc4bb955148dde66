//! Jobs that mxjob managed before their pods were adopted: to the controller the pods were missing,
//! and it reacted to that.

use mxjob_api::{ConditionType, Job};
use serde_json::Value;

use crate::adoption;
use crate::finding::Finding;
use crate::operator::{Operator, is_status_written_by_mxjob};
use crate::patch::{Patch, Target};

/// What the controller did to a job while it could not see the job's pods.
pub(crate) fn finding(
    object: &Value,
    job: &Job,
    operator: Operator,
    patches: &[Patch],
) -> Option<Finding> {
    let count = patches.iter().filter(|patch| patch.target == Target::Pod).count();
    if count == 0 || !operator.is_older() {
        return None;
    }
    let attempt = adoption::attempt(object.pointer("/status/restartState/attempt"));
    if job.status.is_true(&ConditionType::Failed) && is_status_written_by_mxjob(object) {
        return Some(Finding::danger(format!(
            "mxjob has already failed the job, before its {count} pods were adopted. It stays failed, and its cleanPodPolicy applies to the pods once they are adopted; stop mxjob-operator and save their work first."
        )));
    }
    (attempt > 0).then(|| {
        Finding::danger(format!(
            "mxjob has already restarted the job (attempt {attempt}), before its {count} pods were adopted. Stop mxjob-operator before they are adopted; they become pods of that attempt, and the restart stays counted."
        ))
    })
}
