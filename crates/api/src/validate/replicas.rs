//! The roles of a job: which there may be, how many of each, and which need each other.
//!
//! A role with 0 replicas counts as absent wherever roles need each other.

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::schema::member;
use serde_json::Value;

use super::template;
use crate::mxjob::{self, MAX_REPLICAS};
use crate::role::{JobMode, Role};
use crate::spec::integer;
use crate::value::get;

/// The replicas under one key of `mxReplicaSpecs`, read leniently.
pub(super) struct Replicas<'a> {
    /// The key as typed.
    pub(super) key: &'a str,
    /// The role, if it is one.
    pub(super) role: Option<Role>,
    /// How many; 1 where the spec says nothing or nothing that makes sense.
    pub(super) count: i64,
    /// The port that they advertise.
    pub(super) port: u16,
    /// The tuner key.
    pub(super) label: &'a str,
    spec: &'a Value,
}

/// The replicas of a spec, by key.
pub(super) fn read(spec: &Value) -> Vec<Replicas<'_>> {
    let specs = spec.get("mxReplicaSpecs").and_then(Value::as_object);
    let given = specs.into_iter().flatten().filter(|(_, spec)| !spec.is_null());
    given
        .map(|(key, spec)| {
            let count = spec.get("replicas").and_then(integer).filter(|count| *count >= 0);
            let template = spec.get("template").unwrap_or(&Value::Null);
            let annotation = template
                .pointer("/metadata/annotations")
                .and_then(|map| map.get(mxjob::TUNER_KEY_ANNOTATION));
            Replicas {
                key,
                role: Role::parse(key),
                count: count.unwrap_or(1),
                port: crate::job::port(template).unwrap_or(mxjob::DEFAULT_PORT),
                label: get(spec, "label")
                    .or(annotation)
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
                spec,
            }
        })
        .collect()
}

/// How many replicas there are in all.
pub(super) fn total(replicas: &[Replicas<'_>]) -> i64 {
    replicas.iter().fold(0, |total, entry| total.saturating_add(entry.count))
}

/// More replicas in all than a job may have.
pub(super) fn too_many(total: i64) -> Error {
    let detail = format!("a job has at most {MAX_REPLICAS} replicas in all");
    Error::invalid(&path(), total, detail)
}

fn path() -> Path {
    Path::new("spec").child("mxReplicaSpecs")
}

/// Adds the errors of all replicas.
pub(super) fn check(spec: &Value, replicas: &[Replicas<'_>], errors: &mut Errors) {
    let path = path();
    let mode = match get(spec, "jobMode") {
        None => Some(JobMode::default()),
        Some(mode) => mode.as_str().and_then(JobMode::parse),
    };
    let before = errors.len();
    for (index, entry) in replicas.iter().enumerate() {
        let path = member(&path, entry.key);
        let others = replicas.get(..index).unwrap_or_default();
        check_role(entry, others, mode, &path, errors);
    }
    let are_roles_right = errors.len() == before;
    for entry in replicas {
        if errors.is_full() {
            return;
        }
        check_count(entry, &path, errors);
        if let Some(template) = get(entry.spec, "template").filter(|template| template.is_object())
        {
            template::check(template, &member(&path, entry.key).child("template"), errors);
        }
    }
    check_size(replicas, errors);
    // With a misspelt role, or without the mode, nobody can say what is missing.
    if let (Some(mode), true, Some(_)) =
        (mode, are_roles_right, get(spec, "mxReplicaSpecs").and_then(Value::as_object))
    {
        check_company(mode, replicas, &path, errors);
    }
}

fn check_role(
    entry: &Replicas<'_>,
    others: &[Replicas<'_>],
    mode: Option<JobMode>,
    path: &Path,
    errors: &mut Errors,
) {
    let roles = mode.map_or(Role::ALL.as_slice(), JobMode::roles);
    match entry.role.filter(|role| roles.contains(role)) {
        None => {
            let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            errors.push(Error::not_supported(path, entry.key, &names));
        }
        Some(role) if others.iter().any(|other| other.role == Some(role)) => {
            errors.push(Error::duplicate(path, role.as_str()));
        }
        Some(_) => {}
    }
}

fn check_count(entry: &Replicas<'_>, path: &Path, errors: &mut Errors) {
    if let Some(role) = entry.role.filter(|role| role.is_single() && entry.count > 1) {
        let path = member(path, entry.key).child("replicas");
        errors.push(Error::invalid(&path, entry.count, format!("a job has at most one {role}")));
    }
}

/// One role that is too large by itself is the schema's to report.
fn check_size(replicas: &[Replicas<'_>], errors: &mut Errors) {
    let most = i64::from(MAX_REPLICAS);
    let total = total(replicas);
    if total > most && replicas.iter().all(|entry| entry.count <= most) {
        errors.push(too_many(total));
    }
}

/// Which roles need which.
fn check_company(mode: JobMode, replicas: &[Replicas<'_>], path: &Path, errors: &mut Errors) {
    let has = |role| replicas.iter().any(|entry| entry.role == Some(role) && entry.count > 0);
    let mut need = |role: Role, why: &str| {
        if has(role) {
            return;
        }
        match replicas.iter().find(|entry| entry.role == Some(role)) {
            Some(entry) => {
                let path = member(path, entry.key).child("replicas");
                errors.push(Error::invalid(
                    &path,
                    entry.count,
                    format!("must be at least 1: {why}"),
                ));
            }
            None => errors.push(Error::required(&path.child(role), why)),
        }
    };
    match mode {
        JobMode::MXTrain => {
            need(Role::Worker, "a training job needs workers");
            if has(Role::Server) {
                need(Role::Scheduler, "servers need a scheduler");
            }
            if has(Role::Scheduler) {
                need(Role::Server, "a scheduler needs servers");
            }
        }
        JobMode::MXTune => {
            for role in mode.roles() {
                need(*role, "a tuning job needs a tracker, servers and a tuner");
            }
        }
    }
}
