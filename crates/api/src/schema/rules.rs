//! What CEL can say of an MXJob: `x-kubernetes-validations`, checked by the cluster itself where
//! the webhook is not asked or not there.
//!
//! Never stricter than [`admission`](crate::admission), which has all of the rules; a test holds
//! that whatever is refused here is refused there.
//!
//! Three sorts:
//!
//! * **Fixed fields** are transition rules (`oldSelf`). A field with two places is compared by the
//!   value in force, so moving it is no change. Pod templates are left to the webhook: comparing
//!   them would cost more than a rule may, and a queue may change parts of them.
//! * **Replaceable fields** are transition rules that let a wrong value stay and no new one come.
//! * **What a new job must be** is asked while it has no `status`. The API server drops the status
//!   of a create, and the first thing any operator writes is one: so these rules meet new jobs and
//!   no job that an older operator has begun with.
//!
//! Cost: an API server estimates each rule by the largest object that the schema allows and takes
//! up to 10 million units a rule and 100 million in all. Comparing two texts without bound is the
//! dearest thing here, 0.31 million (a tenth of the 3 MB that a request may have), and there are
//! fewer than ten such comparisons, none of them under `mxReplicaSpecs` save `label`, 16 times
//! 0.31 = 5 million. Loops go over `mxReplicaSpecs` alone, which has at most 16 members, and do
//! nothing in them but look at numbers and short words. Keys of the map have no bound, so nothing
//! is done with them but finding them, in the map or among constants. All together stay below 15
//! million.

use serde_json::{Value, json};

use crate::layout::{FIELDS, Field, NESTED};
use crate::mxjob::MAX_REPLICAS;
use crate::replace;
use crate::role::{JobMode, Role};
use crate::spec::JOB_MODE;

/// How many roles there may be: more than there are, since older operators ran any; few enough to
/// go through all of them in a rule.
pub(super) const ROLE_LIMIT: u32 = 16;

/// Puts the rules into the schema.
pub(super) fn put(schema: &mut Value) {
    for (pointer, rules) in [
        ("", new_jobs()),
        ("/properties/spec", changes()),
        ("/properties/spec/properties/mxReplicaSpecs", vec![fixed_roles()]),
        ("/properties/spec/properties/mxReplicaSpecs/additionalProperties", fixed_in_role()),
    ] {
        if let Some(place) = schema.pointer_mut(pointer) {
            place["x-kubernetes-validations"] = rules.into();
        }
    }
}

fn rule(reason: &str, path: &str, message: &str, rule: &str) -> Value {
    json!({ "rule": rule, "message": message, "reason": format!("FieldValue{reason}"), "fieldPath": path })
}

fn fixed(path: &str, text: &str) -> Value {
    rule("Forbidden", path, &replace::detail(), text)
}

// === Fixed fields ===

/// That a field of `self` is as it was.
fn same(field: &str) -> String {
    format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    )
}

/// The value in force of a field with two places, or a stand-in where there is none.
fn in_force(of: &str, field: Field, none: &str) -> String {
    let at = |place: String| {
        // Every object on the way may be missing.
        let mut path = place;
        let mut has = Vec::new();
        for name in field.names() {
            path = format!("{path}.{name}");
            has.push(format!("has({path})"));
        }
        (has.join(" && "), path)
    };
    let (has_nested, nested) = at(format!("{of}.{NESTED}"));
    let (has_flat, flat) = at(of.to_owned());
    format!("(has({of}.{NESTED}) && {has_nested} ? {nested} : {has_flat} ? {flat} : {none})")
}

fn changes() -> Vec<Value> {
    let mut rules =
        vec![fixed(".mxReplicaSpecs", "has(self.mxReplicaSpecs) == has(oldSelf.mxReplicaSpecs)")];
    let mode = |of: &str| format!("(has({of}.jobMode) ? {of}.jobMode : '')");
    rules.push(fixed(".jobMode", &format!("{} == {}", mode("self"), mode("oldSelf"))));
    for field in ["successPolicy", "restartScope"] {
        rules.push(fixed(&format!(".{field}"), &same(field)));
    }
    for field in FIELDS.into_iter().filter(|field| !field.is_replaceable) {
        let none = match field.names() {
            // A map of quantities, which may be numbers or texts of any length: left to the
            // webhook.
            [.., "minResources"] => continue,
            [.., "queue" | "priorityClass"] => "''",
            _ => "-1",
        };
        let (new, old) = (in_force("self", field, none), in_force("oldSelf", field, none));
        rules.push(fixed(&format!(".{}", field.names().join(".")), &format!("{new} == {old}")));
    }
    rules.extend(replaceable());
    rules
}

fn fixed_roles() -> Value {
    let message = format!("{} (a role was added or removed)", replace::detail());
    json!({
        "rule": "self.all(role, role in oldSelf) && oldSelf.all(role, role in self)",
        "message": message, "reason": "FieldValueForbidden",
    })
}

fn fixed_in_role() -> Vec<Value> {
    let fields = ["replicas", "restartPolicy", "label"];
    fields.map(|field| fixed(&format!(".{field}"), &same(field))).into()
}

// === Replaceable fields ===

/// What a replaceable field must be: its names, a test of the value, and the words for it.
fn replaceable_bounds() -> [(&'static str, &'static str, &'static str); 3] {
    [
        ("activeDeadlineSeconds", "{} >= 1", "must be at least 1"),
        ("ttlSecondsAfterFinished", "{} >= 0", "must be at least 0"),
        (
            "cleanPodPolicy",
            "{} in ['All', 'Running', 'None']",
            "supported values: \"All\", \"Running\", \"None\"",
        ),
    ]
}

fn replaceable() -> Vec<Value> {
    let mut rules = Vec::new();
    for (name, test, message) in replaceable_bounds() {
        for place in ["", "runPolicy."] {
            let field = format!("{place}{name}");
            let has = |of: &str| {
                let nested = if place.is_empty() {
                    String::new()
                } else {
                    format!("has({of}.{NESTED}) && ")
                };
                format!("{nested}has({of}.{field})")
            };
            let test = test.replace("{}", &format!("self.{field}"));
            let text = format!(
                "!({}) || {test} || ({} && self.{field} == oldSelf.{field})",
                has("self"),
                has("oldSelf")
            );
            rules.push(rule("Invalid", &format!(".{field}"), message, &text));
        }
    }
    rules
}

// === New jobs ===

/// A rule for jobs that nobody has begun with.
fn new(reason: &str, path: &str, message: &str, text: &str) -> Value {
    rule(reason, path, message, &format!("has(self.status) || {text}"))
}

fn new_jobs() -> Vec<Value> {
    const ROLES: &str = "self.spec.mxReplicaSpecs";
    let has_roles = format!("has(self.spec) && has({ROLES})");
    let mut rules = vec![new(
        "Required",
        ".spec",
        "a job needs spec.mxReplicaSpecs",
        &format!("({has_roles})"),
    )];
    let mut words = vec![
        ("jobMode", "['MXTrain', 'MXTune']".to_owned()),
        ("successPolicy", "['', 'AllWorkers']".to_owned()),
    ];
    let policies = "['All', 'Running', 'None']".to_owned();
    words.extend([("cleanPodPolicy", policies.clone()), ("runPolicy.cleanPodPolicy", policies)]);
    for (field, values) in words {
        let message =
            format!("supported values: {}", values.trim_matches(['[', ']']).replace('\'', "\""));
        // Clients with types of Go write it empty where it is not given.
        let unset = if field == JOB_MODE { "self.spec.jobMode == '' || " } else { "" };
        let text =
            format!("!({}) || {unset}self.spec.{field} in {values}", has_below("self.spec", field));
        rules.push(new("Invalid", &format!(".spec.{field}"), &message, &text));
    }
    for (field, least) in [
        ("activeDeadlineSeconds", 1),
        ("backoffLimit", 0),
        ("ttlSecondsAfterFinished", 0),
        ("schedulingPolicy.minAvailable", 0),
        ("schedulingPolicy.scheduleTimeoutSeconds", 0),
    ] {
        for place in ["", "runPolicy."] {
            let field = format!("{place}{field}");
            let text =
                format!("!({}) || self.spec.{field} >= {least}", has_below("self.spec", &field));
            let message = format!("must be at least {least}");
            rules.push(new("Invalid", &format!(".spec.{field}"), &message, &text));
        }
    }
    // Of `suspend` it depends on the labels whether it may differ, and a rule cannot see those.
    let is_comparable =
        |field: &Field| !field.names().contains(&"minResources") && *field != Field::suspend();
    for field in FIELDS.into_iter().filter(is_comparable) {
        let field = field.names().join(".");
        let (flat, nested) = (format!("self.spec.{field}"), format!("self.spec.{NESTED}.{field}"));
        let (has_flat, has_nested) =
            (has_below("self.spec", &field), has_below("self.spec", &format!("{NESTED}.{field}")));
        let message =
            format!("spec.{field} and spec.{NESTED}.{field} are the same field and may not differ");
        let text = format!("!({has_flat} && {has_nested}) || {flat} == {nested}");
        rules.push(new("Invalid", &format!(".spec.{NESTED}.{field}"), &message, &text));
    }
    rules.extend(roles_of_new_jobs(ROLES, &has_roles));
    rules
}

/// How many of each role, and which need which. Keys in another letter case are roles too: what is
/// missing is only said where no key can be it.
fn roles_of_new_jobs(roles: &str, has_roles: &str) -> Vec<Value> {
    let path = ".spec.mxReplicaSpecs";
    let of_each = |reason, message: &str, test: &str| {
        let text = format!(
            "!({has_roles}) || {roles}.all(role, {})",
            test.replace("{}", &format!("{roles}[role]"))
        );
        new(reason, path, message, &text)
    };
    let mut rules = vec![
        of_each("Required", "a role needs a template", "has({}.template)"),
        of_each("Invalid", "replicas must be at least 0", "!has({}.replicas) || {}.replicas >= 0"),
        size_of_new_jobs(roles, has_roles),
        of_each(
            "Invalid",
            "restartPolicy must be one of Always, OnFailure, Never, ExitCode",
            "!has({}.restartPolicy) || {}.restartPolicy in ['Always', 'OnFailure', 'Never', 'ExitCode']",
        ),
    ];
    for role in Role::ALL.into_iter().filter(|role| role.is_single()) {
        let entry = format!("{roles}['{role}']");
        let text = format!(
            "!({has_roles} && '{role}' in {roles} && has({entry}.replicas)) || {entry}.replicas <= 1"
        );
        rules.push(new("Invalid", path, &format!("a job has at most one {role}"), &text));
    }
    let has_mode = "has(self.spec.jobMode)";
    let is_training = format!(
        "({has_roles} && (!{has_mode} || self.spec.jobMode in ['', '{}']))",
        JobMode::MXTrain
    );
    let others = |missing: Role| {
        let known = JobMode::MXTrain.roles().iter().filter(|role| **role != missing);
        known.map(|role| format!("'{role}'")).collect::<Vec<_>>().join(", ")
    };
    let lacks = |role| format!("{roles}.all(role, role in [{}])", others(role));
    rules.push(new(
        "Required",
        path,
        "a training job needs workers",
        &format!("!({is_training} && {})", lacks(Role::Worker)),
    ));
    for (role, needed, why) in [
        (Role::Server, Role::Scheduler, "servers need a scheduler"),
        (Role::Scheduler, Role::Server, "a scheduler needs servers"),
    ] {
        let entry = format!("{roles}['{role}']");
        let has_some =
            format!("'{role}' in {roles} && (!has({entry}.replicas) || {entry}.replicas > 0)");
        let text = format!("!({is_training} && {has_some} && {})", lacks(needed));
        rules.push(new("Required", path, why, &text));
    }
    let tuning =
        format!("!({has_roles} && {has_mode} && self.spec.jobMode == '{}')", JobMode::MXTune);
    let count = JobMode::MXTune.roles().len();
    debug_assert!(count < ROLE_LIMIT as usize);
    let text = format!("{tuning} || size({roles}) >= {count}");
    rules.push(new("Required", path, "a tuning job needs a tracker, servers and a tuner", &text));
    rules
}

/// How many replicas there may be in all. A rule can sum up only what it can name, so a role in
/// another letter case counts alone: the webhook adds it to the others.
fn size_of_new_jobs(roles: &str, has_roles: &str) -> Value {
    // None of them alone may be too large, so no sum overflows.
    let each = format!(
        "{roles}.all(role, !has({roles}[role].replicas) || {roles}[role].replicas <= {MAX_REPLICAS})"
    );
    let counts = Role::ALL.map(|role| {
        let entry = format!("{roles}['{role}']");
        format!("('{role}' in {roles} ? (has({entry}.replicas) ? {entry}.replicas : 1) : 0)")
    });
    let text = format!("!({has_roles}) || ({each} && {} <= {MAX_REPLICAS})", counts.join(" + "));
    let message = format!("a job has at most {MAX_REPLICAS} replicas in all");
    new("Invalid", ".spec.mxReplicaSpecs", &message, &text)
}

/// That a field is there, and every object on the way to it.
fn has_below(of: &str, field: &str) -> String {
    let mut path = of.to_owned();
    let mut has = vec!["has(self.spec)".to_owned()];
    for name in field.split('.') {
        path = format!("{path}.{name}");
        has.push(format!("has({path})"));
    }
    has.join(" && ")
}
