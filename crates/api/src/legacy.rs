//! What the operators before this one left in a cluster: which of them looked after a job, what will be different from now on, and
//! which patches let the controller take the job's pods and services over as they are, without restarting one.
//!
//! | | who | policies it read | default `cleanPodPolicy` |
//! | --- | --- | --- | --- |
//! | [`Era::A`] | mxnet-operator up to 1.0 | flat | `All` |
//! | [`Era::B`] | mxnet-operator 1.1 | flat | `All` |
//! | [`Era::CEarly`] | training-operator 1.3 to 1.5 | `runPolicy` | `All` |
//! | [`Era::CLate`] | training-operator 1.6 to 1.8 | `runPolicy` | `None` |
//!
//! The patches must be sent before the controller runs: to it a pod without its labels is a pod that is missing, and a running rendezvous that
//! lacks one is restarted as a whole.
//!
//! Pure: the objects in, sentences and merge patches out. Nothing is asked of a cluster and nothing is written.

mod adopt;
mod children;
mod early;
mod era;
mod findings;

use crate::job::Job;
use crate::mxjob;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;

pub use children::{Children, owner};

/// Which operator looked after a job, as far as its traces tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// mxnet-operator up to 1.0.
    A,
    /// mxnet-operator 1.1.
    B,
    /// training-operator 1.3 to 1.5.
    CEarly,
    /// training-operator 1.6 to 1.8.
    CLate,
    /// This one.
    Current,
    /// There are no traces yet.
    Unknown,
}

/// How much a finding matters to whoever migrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Good to know.
    Note,
    /// Will go on differently.
    Change,
    /// Something is lost, stopped or left alone at the take-over unless somebody acts first.
    Danger,
}

/// One thing to know about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// One sentence.
    pub text: String,
}

/// What a patch is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `PATCH` of a pod.
    Pod,
    /// `PATCH` of a service.
    Service,
    /// `PATCH` of the job's `status` subresource.
    JobStatus,
}

/// A JSON merge patch (`application/merge-patch+json`). It names the uid, so it never meets another object of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// What it is put on.
    pub target: Target,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The patch.
    pub body: Value,
}

/// A job as an older operator left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Legacy {
    /// Who looked after it.
    pub era: Era,
    /// Whether it is over.
    pub is_finished: bool,
    /// What to know, gravest first.
    pub findings: Vec<Finding>,
    /// How to adopt it, in the order in which the patches must be sent: pods before the services that select them.
    pub patches: Vec<Patch>,
}

/// Reads a job, with its pods and services where they are known (a job from a file has none to look at).
///
/// ```
/// use mxjob_api::legacy::{self, Era, Weight};
/// use serde_json::json;
///
/// let job = json!({
///     "metadata": { "name": "digits", "namespace": "default", "uid": "7d1f" },
///     "spec": { "jobMode": "MXTrain", "runPolicy": { "ttlSecondsAfterFinished": 60 }, "mxReplicaSpecs": { "Worker": { "template": {
///         "spec": { "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }] },
///     } } } },
///     "status": {
///         "conditions": [{ "type": "Succeeded", "status": "True" }],
///         "replicaStatuses": { "Worker": { "succeeded": 1 } },
///         "startTime": "2024-09-10T08:00:00Z", "completionTime": "2024-09-10T09:00:00Z",
///     },
/// });
/// let legacy = legacy::read(&job, None, "2026-11-24T08:00:00Z".parse()?);
/// assert_eq!(legacy.era, Era::CLate);
/// assert_eq!(legacy.findings[0].weight, Weight::Danger); // it would be deleted at once
/// # Ok::<(), jiff::Error>(())
/// ```
pub fn read(job: &Value, children: Option<&Children<'_>>, now: Timestamp) -> Legacy {
    let children = children.map(|children| children.of(job));
    let era = era::of(job, children.as_ref().map_or(&[], |children| &children.pods));
    let parsed = Job::from_value(job);
    let mut findings = Vec::new();
    let mut patches = Vec::new();
    if let Ok(parsed) = &parsed
        && let Some(children) = &children
    {
        patches = adopt::children(job, parsed, children);
    }
    let is_finished = parsed.as_ref().is_ok_and(|job| job.status.is_finished());
    findings::note(
        &findings::Subject { object: job, era, children: children.as_ref(), now },
        &parsed,
        &mut findings,
    );
    if let Ok(parsed) = &parsed {
        findings.extend(adopt::summary(&patches));
        findings.extend(early::note(job, parsed, era, &patches));
        patches.extend(adopt::status(job, parsed));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    Legacy { era, is_finished, findings, patches }
}

// === impl Era ===

impl Era {
    /// What `cleanPodPolicy` was where nothing was given.
    pub fn default_clean_pod_policy(self) -> &'static str {
        match self {
            Self::A | Self::B | Self::CEarly => "All",
            Self::CLate => "None",
            Self::Current | Self::Unknown => "Running",
        }
    }

    /// Whether it was one of the Go operators.
    pub fn is_older(self) -> bool {
        !matches!(self, Self::Current | Self::Unknown)
    }
}

/// The name of the operator, as sentences use it.
impl fmt::Display for Era {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::A => "mxnet-operator 1.0",
            Self::B => "mxnet-operator 1.1",
            Self::CEarly => "training-operator 1.5",
            Self::CLate => "training-operator 1.8",
            Self::Current => "mxjob",
            Self::Unknown => "no operator",
        })
    }
}

// === impl Finding ===

impl Finding {
    fn note(text: impl Into<String>) -> Self {
        Self { weight: Weight::Note, text: text.into() }
    }

    fn change(text: impl Into<String>) -> Self {
        Self { weight: Weight::Change, text: text.into() }
    }

    fn danger(text: impl Into<String>) -> Self {
        Self { weight: Weight::Danger, text: text.into() }
    }
}

// === impl Target ===

impl Target {
    /// API group, version, resource and subresource, for a path.
    pub fn resource(self) -> (&'static str, &'static str, &'static str, Option<&'static str>) {
        match self {
            Self::Pod => ("", "v1", "pods", None),
            Self::Service => ("", "v1", "services", None),
            Self::JobStatus => (mxjob::GROUP, mxjob::VERSION, mxjob::PLURAL, Some("status")),
        }
    }
}
