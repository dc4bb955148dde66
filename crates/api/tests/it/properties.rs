//! Properties of every job and every change.

use mxjob_api::{Job, JobStatus, admission, env, pods, replace, review, unknown, validate};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::jobs::{alone, training, tuning, with};

/// Any JSON of moderate size, with keys and words of jobs more often than by chance.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "spec",
        "status",
        "metadata",
        "name",
        "replicas",
        "template",
        "mxReplicaSpecs",
        "Worker",
        "Scheduler",
        "runPolicy",
        "schedulingPolicy",
        "minAvailable",
        "containers",
        "image",
        "mxnet",
        "suspend",
        "conditions",
        "limits",
        "1000m",
        "",
    ]);
    let word = prop_oneof![words.prop_map(str::to_owned), "\\PC{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// The replaceable fields, with random valid values.
pub(crate) fn replaceable() -> impl Strategy<Value = Map<String, Value>> {
    let fields = (
        prop::option::of(1_i64..10_000),
        prop::option::of(0_i32..10_000),
        prop::option::of(prop::sample::select(vec!["All", "Running", "None"])),
        prop::option::of(any::<bool>()),
    );
    fields.prop_map(|(deadline, ttl, clean, suspend)| {
        let mut fields = Map::new();
        for (name, value) in [
            ("activeDeadlineSeconds", deadline.map(Value::from)),
            ("ttlSecondsAfterFinished", ttl.map(Value::from)),
            ("cleanPodPolicy", clean.map(Value::from)),
            ("suspend", suspend.map(Value::from)),
        ] {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        fields
    })
}

/// A valid job: one of the shapes, with policies in either layout and changes in the templates.
pub(crate) fn job() -> impl Strategy<Value = Value> {
    let shape = prop::sample::select(vec![training(), alone(), tuning()]);
    let policy =
        prop_oneof![Just(json!({})), (0_i32..9).prop_map(|limit| json!({ "backoffLimit": limit }))];
    let scheduling = prop_oneof![
        Just(Value::Null),
        Just(json!({ "queue": "q" })),
        Just(json!({ "minAvailable": 1, "minResources": { "cpu": "1000m" } })),
    ];
    let restart = prop::sample::select(vec!["Always", "OnFailure", "Never", "ExitCode"]);
    (shape, replaceable(), policy, scheduling, restart, any::<bool>(), any::<bool>()).prop_map(
        |(shape, replaceable, mut policy, scheduling, restart, is_nested, has_extras)| {
            let fields = policy.as_object_mut().unwrap();
            fields.extend(replaceable);
            if !scheduling.is_null() {
                fields.insert("schedulingPolicy".to_owned(), scheduling);
            }
            let mut object =
                with(&shape, &if is_nested { json!({ "runPolicy": policy }) } else { policy });
            for replica in object["spec"]["mxReplicaSpecs"].as_object_mut().unwrap().values_mut() {
                replica["restartPolicy"] = restart.into();
                if has_extras {
                    replica["template"]["metadata"] =
                        json!({ "labels": { "team": "a" }, "annotations": { "x.y/z": "1" } });
                    replica["template"]["spec"]["volumes"] =
                        json!([{ "name": "v", "emptyDir": { "sizeLimit": "1Gi" } }]);
                    replica["template"]["spec"]["containers"][0]["args"] =
                        json!(["-c", "train", "more"]);
                }
            }
            object
        },
    )
}

/// Sets the replaceable fields of a job to other values, in the given layout.
pub(crate) fn change_replaceable(
    object: &Value,
    fields: &Map<String, Value>,
    is_nested: bool,
) -> Value {
    let mut object = object.clone();
    let spec = object["spec"].as_object_mut().unwrap();
    for name in ["activeDeadlineSeconds", "ttlSecondsAfterFinished", "cleanPodPolicy", "suspend"] {
        spec.remove(name);
        if let Some(policy) = spec.get_mut("runPolicy").and_then(Value::as_object_mut) {
            policy.remove(name);
        }
    }
    if is_nested {
        let policy = spec.entry("runPolicy").or_insert_with(|| json!({}));
        if policy.is_null() {
            *policy = json!({});
        }
        policy.as_object_mut().unwrap().extend(fields.clone());
    } else {
        spec.extend(fields.clone());
    }
    object
}

/// The pointers to everything immutable in a spec.
pub(crate) fn fixed_pointers(object: &Value) -> Vec<String> {
    fn walk(value: &Value, pointer: &str, found: &mut Vec<String>) {
        found.push(pointer.to_owned());
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let is_replaceable = [
                        "activeDeadlineSeconds",
                        "ttlSecondsAfterFinished",
                        "cleanPodPolicy",
                        "suspend",
                    ]
                    .contains(&&**name);
                    if !is_replaceable {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        walk(value, &format!("{pointer}/{name}"), found);
                    }
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    walk(value, &format!("{pointer}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&object["spec"], "/spec", &mut found);
    found
}

/// Changes exactly one place: another value, an addition, or a removal.
pub(crate) fn change(object: &mut Value, pointer: &str, how: u8) {
    let place = object.pointer_mut(pointer).unwrap();
    match (how % 3, place) {
        (1, Value::Object(members)) => {
            members.insert("addedHere".to_owned(), json!({ "x": 1 }));
        }
        (1, Value::Array(items)) => items.push(Value::Null),
        (2, Value::Array(items)) if !items.is_empty() => {
            items.pop();
        }
        // An object with only replaceable fields may be removed; then its members are visited one
        // by one.
        (2, Value::Object(members))
            if pointer.contains("/mxReplicaSpecs") && !members.is_empty() =>
        {
            let name = members.keys().next().unwrap().clone();
            members.remove(&name);
        }
        (_, place) => *place = json!("certainly something else"),
    }
}

/// The same object in another form: numbers with a zero fraction, null for absent members.
fn reformatted(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            number.as_i64().map_or_else(|| value.clone(), |number| json!(number as f64))
        }
        Value::Array(items) => items.iter().map(reformatted).collect(),
        Value::Object(members) => {
            let mut members: Map<_, _> =
                members.iter().map(|(name, value)| (name.clone(), reformatted(value))).collect();
            members.entry("nothingHere").or_insert(Value::Null);
            members.into()
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn a_replace_of_only_what_may_be_replaced_is_accepted(
        old in job(), fields in replaceable(), is_nested: bool, metadata in any_json(), status in any_json(),
    ) {
        let mut new = change_replaceable(&old, &fields, is_nested);
        new["metadata"]["labels"] = metadata.clone();
        new["metadata"]["annotations"] = metadata;
        new["status"] = status;
        prop_assert_eq!(replace::check(&old, &new).to_string(), "[]");
        prop_assert_eq!(validate::validate(&new).to_string(), "[]");
    }

    #[test]
    fn a_replace_that_changes_anything_else_is_not(
        old in job(), fields in replaceable(), is_nested: bool, place: prop::sample::Index, how: u8,
    ) {
        let mut new = change_replaceable(&old, &fields, is_nested);
        let pointers = fixed_pointers(&old);
        // The objects of the policies may have gone with their last member.
        let pointers: Vec<_> = pointers.iter().filter(|pointer| new.pointer(pointer).is_some()).collect();
        let pointer = place.get(&pointers);
        change(&mut new, pointer, how);
        let errors = replace::check(&old, &new);
        prop_assert!(!errors.is_empty(), "{pointer} {new}");
        let mut paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        prop_assert!(paths.iter().all(|path| path.starts_with("spec")));
        paths.sort_unstable();
        paths.dedup();
        prop_assert_eq!(paths.len(), errors.len(), "one cause a field");
    }

    #[test]
    fn what_a_queue_may_place_is_fixed_for_a_job_of_no_queue(
        old in job(), is_in_old: bool, is_in_new: bool, suspends: [Option<bool>; 2], which in 0_usize..5, role: prop::sample::Index,
    ) {
        let place = ["/spec/nodeSelector", "/spec/tolerations", "/spec/schedulingGates", "/metadata/labels", "/metadata/annotations"][which];
        let suspended = |job: &Value, suspend: Option<bool>| {
            let fields = suspend.map(|suspend| ("suspend".to_owned(), suspend.into())).into_iter().collect();
            change_replaceable(job, &fields, false)
        };
        let (mut old, mut new) = (suspended(&old, suspends[0]), suspended(&old, suspends[1]));
        for (job, is_queued) in [(&mut old, is_in_old), (&mut new, is_in_new)] {
            if is_queued {
                job["metadata"]["labels"] = json!({ "kueue.x-k8s.io/queue-name": "gpu" });
            }
        }
        let roles = new["spec"]["mxReplicaSpecs"].as_object_mut().unwrap();
        let (role, name) = (role.index(roles.len()), place.rsplit('/').next().unwrap());
        let template = &mut roles.values_mut().nth(role).unwrap()["template"];
        let parent = place.strip_suffix(name).unwrap().trim_matches('/');
        template[parent][name] = json!({ "certainly": "new" });
        let is_open = is_in_old && is_in_new && suspends.contains(&Some(true));
        let errors = replace::check(&old, &new);
        prop_assert_eq!(errors.is_empty(), is_open, "{} {}", place, errors);
    }

    #[test]
    fn a_no_op_reports_nothing(old in job()) {
        prop_assert!(replace::check(&old, &old).is_empty());
        prop_assert!(replace::check(&old, &reformatted(&old)).is_empty());
        prop_assert!(replace::check(&reformatted(&old), &old).is_empty());
    }

    #[test]
    fn every_valid_job_is_accepted_and_read_and_has_pods(object in job()) {
        prop_assert_eq!(validate::validate(&object).to_string(), "[]");
        let job = Job::from_value(&object).unwrap();
        for replica in &job.replicas {
            prop_assert!(pods::pod(&job, replica.role, 0).is_some());
            let config: Value = serde_json::from_str(&env::mx_config(&job, replica.role, 0)).unwrap();
            prop_assert_eq!(config["cluster"][replica.role.lower()].as_array().unwrap().len(), replica.count as usize);
        }
    }

    #[test]
    fn whatever_is_accepted_can_be_read(object in job(), place: prop::sample::Index, junk in any_json()) {
        let mut object = object;
        let pointers = fixed_pointers(&object);
        let pointer: &String = place.get(&pointers);
        *object.pointer_mut(pointer).unwrap() = junk;
        if validate::validate(&object).is_empty() {
            let job = Job::from_value(&object).unwrap();
            for replica in job.replicas.iter().filter(|replica| replica.count > 0) {
                prop_assert!(pods::pod(&job, replica.role, 0).is_some());
            }
        }
    }

    #[test]
    fn nothing_panics_on_any_json(one in any_json(), other in any_json()) {
        for spec in [json!({ "spec": &one }), json!({ "metadata": { "name": "a" }, "spec": { "mxReplicaSpecs": &one } }), one] {
            let _ = validate::validate(&spec);
            let _ = validate::validate_status(&json!({ "status": spec }));
            let _ = Job::from_value(&spec);
            let _ = JobStatus::deserialize(&spec);
            let _ = replace::message("a", &replace::check(&spec, &other));
            let _ = admission::update(&spec, &other);
            prop_assert!(review::answer(&spec)["response"]["allowed"] == false);
            let _ = replace::check(&json!({ "spec": other.clone() }), &spec);
            let mut pruned = spec.clone();
            unknown::prune(&mut pruned);
            prop_assert!(unknown::fields(&pruned).is_empty());
            prop_assert!(replace::check(&spec, &spec).is_empty());
        }
    }
}
