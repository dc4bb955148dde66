//! Jobs written for older operators: the objects created for each are compared with a golden file.
//! `UPDATE_GOLDEN=1` updates the files; a person has to review the difference.

use std::path::{Path, PathBuf};

use mxjob_api::Job;
use mxjob_controller::{Plan, SchedulingState, Snapshot, memory::Memory, plan};
use serde_json::{Value, json};

const WILD: [&str; 9] = [
    "flat-byteps",
    "flat-train-gpu",
    "flat-tune",
    "nested-byteps",
    "nested-train",
    "nested-tune",
    "queued",
    "single-worker",
    "trial",
];

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of).join("tests/data/wild")
}

/// The job of a manifest as a server stores it.
fn stored(name: &str) -> Value {
    let text = std::fs::read(folder("../api").join(format!("{name}.yaml"))).unwrap();
    let mut object = mxjob_machinery::yaml::decode(&text).unwrap();
    object["metadata"]["namespace"] = json!("default");
    object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    object
}

/// The first plan for the job, and its objects in the order of their creation.
fn made(object: &Value) -> (Plan, Vec<Value>) {
    let job = Job::from_value(object).unwrap();
    let snapshot = Snapshot {
        job: job.clone().into(),
        memory: Memory::default(),
        pods: Vec::new(),
        services: Vec::new(),
        problems: Vec::new(),
        scheduling: SchedulingState::MayStart,
    };
    let plan = plan(&snapshot, "2026-11-24T08:00:00Z".parse().unwrap());
    let services = plan
        .create_services
        .iter()
        .map(|replica| mxjob_api::pods::service(&job, replica.role, replica.index).unwrap());
    let pods = plan.create_pods.iter().map(|replica| plan.pod(&job, *replica).unwrap());
    let objects = services.chain(pods).collect();
    (plan, objects)
}

#[test]
fn the_pods_and_services_of_every_manifest_match_its_golden_file() {
    for name in WILD {
        let mut object = stored(name);
        // A suspended job creates nothing, so it is resumed here.
        if object["spec"]["runPolicy"]["suspend"] == true {
            assert_eq!(made(&object).1, Vec::<Value>::new(), "{name}");
            object["spec"]["runPolicy"]["suspend"] = json!(false);
        }
        let objects = serde_json::to_string_pretty(&made(&object).1).unwrap() + "\n";
        let file = folder("").join(format!("{name}.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &objects).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if golden != objects {
            let line = golden.lines().zip(objects.lines()).position(|(old, new)| old != new);
            let line = line.unwrap_or_else(|| golden.lines().count().min(objects.lines().count()));
            panic!(
                "{} differs from line {} on: {:?} is now {:?}. UPDATE_GOLDEN=1 updates it",
                file.display(),
                line + 1,
                golden.lines().nth(line),
                objects.lines().nth(line),
            );
        }
    }
}

#[test]
fn every_manifest_has_a_golden_file() {
    let names = |folder: &Path, end: &str| {
        let files = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = files
            .filter_map(|file| {
                Some(file.unwrap().file_name().to_str()?.strip_suffix(end)?.to_owned())
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder("../api"), ".yaml"), WILD);
    assert_eq!(names(&folder(""), ".json"), WILD);
}
