//! A job that this controller looked after before its pods were adopted: to it they were missing, and it acted on that.

use super::{Era, Finding, Patch, Target, adopt, era};
use crate::job::Job;
use crate::status::ConditionType;
use serde_json::Value;

/// What the controller did to a job whose pods it could not see.
pub(super) fn note(object: &Value, job: &Job, era: Era, patches: &[Patch]) -> Option<Finding> {
    let count = patches.iter().filter(|patch| patch.target == Target::Pod).count();
    if count == 0 || !era.is_older() {
        return None;
    }
    let attempt = adopt::attempt(object.pointer("/status/restartState/attempt"));
    if job.status.is_true(&ConditionType::Failed) && era::is_written_by_us(object) {
        return Some(Finding::danger(format!(
            "mxjob has failed the job already, before its {count} pods were adopted: it stays failed, and when they are adopted its cleanPodPolicy holds for them; stop mxjob-operator and save what they have done before that."
        )));
    }
    (attempt > 0).then(|| {
        Finding::danger(format!(
            "mxjob has restarted the job already (attempt {attempt}), before its {count} pods were adopted: stop mxjob-operator before they are; they are taken over as pods of that attempt, and the restart stays in the counts."
        ))
    })
}
