//! One job: which operator managed it, what changes for it, and which patches let the controller
//! adopt its pods and services without restarting any of them.
//!
//! The patches must be sent before the controller runs. To the controller a pod without its labels
//! is a missing pod, and a running job with a scheduler is restarted as a whole when a pod is
//! missing.
//!
//! Pure: objects in, findings and merge patches out.

use jiff::Timestamp;
use mxjob_api::Job;
use serde_json::Value;

use crate::children::Children;
use crate::finding::Finding;
use crate::operator::Operator;
use crate::patch::Patch;
use crate::{adoption, findings, unadopted};

/// A job as an older operator left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// The operator that managed the job.
    pub operator: Operator,
    /// Whether the job has finished.
    pub is_finished: bool,
    /// The findings, sorted by weight, dangers first.
    pub findings: Vec<Finding>,
    /// The patches that adopt the job, in the order in which they must be sent: pods before the
    /// services that select them.
    pub patches: Vec<Patch>,
}

/// Assesses a job, with its pods and services where they are known. A job from a file may come
/// without them.
///
/// ```
/// use mxjob_migrate::{Operator, Weight, assess};
/// use serde_json::json;
///
/// let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }] } });
/// let job = json!({
///     "metadata": { "name": "digits", "namespace": "default", "uid": "7d1f" },
///     "spec": {
///         "jobMode": "MXTrain",
///         "runPolicy": { "ttlSecondsAfterFinished": 60 },
///         "mxReplicaSpecs": { "Worker": { "template": template } },
///     },
///     "status": {
///         "conditions": [{ "type": "Succeeded", "status": "True" }],
///         "replicaStatuses": { "Worker": { "succeeded": 1 } },
///         "startTime": "2024-09-10T08:00:00Z", "completionTime": "2024-09-10T09:00:00Z",
///     },
/// });
/// let assessment = assess(&job, None, "2026-11-24T08:00:00Z".parse()?);
/// assert_eq!(assessment.operator, Operator::TrainingOperator1_8);
/// // Its time to live has expired: it would be deleted.
/// assert_eq!(assessment.findings[0].weight, Weight::Danger);
/// # Ok::<(), jiff::Error>(())
/// ```
pub fn assess(job: &Value, children: Option<&Children<'_>>, now: Timestamp) -> Assessment {
    let children = children.map(|children| children.of(job));
    let operator = Operator::of(job, children.as_ref().map_or(&[], |children| &children.pods));
    let parsed = Job::from_value(job);
    let mut findings = Vec::new();
    let mut patches = Vec::new();
    if let Ok(parsed) = &parsed
        && let Some(children) = &children
    {
        patches = adoption::children(job, parsed, children);
    }
    let is_finished = parsed.as_ref().is_ok_and(|job| job.status.is_finished());
    findings::collect(
        &findings::Subject { object: job, operator, children: children.as_ref(), now },
        &parsed,
        &mut findings,
    );
    if let Ok(parsed) = &parsed {
        findings.extend(adoption::summary(&patches));
        findings.extend(unadopted::finding(job, parsed, operator, &patches));
        patches.extend(adoption::status(job, parsed));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    Assessment { operator, is_finished, findings, patches }
}
