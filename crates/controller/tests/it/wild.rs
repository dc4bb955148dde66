//! Jobs as they were written for the operators that came before: what becomes of each is compared, object by object and field by
//! field, with a golden file. `UPDATE_GOLDEN=1` writes the files anew; the difference is for a person to read.

use mxjob_api::Job;
use mxjob_controller::{Admission, Plan, Snapshot, memory::Memory, plan};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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

/// The first plan for the job, and everything that it makes in the order in which it is made.
fn made(object: &Value) -> (Plan, Vec<Value>) {
    let job = Job::from_value(object).unwrap();
    let snapshot = Snapshot {
        job: job.clone().into(),
        memory: Memory::default(),
        pods: Vec::new(),
        services: Vec::new(),
        problems: Vec::new(),
        admission: Admission::Admitted,
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
fn the_pods_and_services_of_every_manifest_are_those_of_its_golden_file() {
    for name in WILD {
        let mut object = stored(name);
        // A job that waits for its queue makes nothing: what it makes is seen when it is let go.
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
                "{} differs from line {} on: {:?} is now {:?}. UPDATE_GOLDEN=1 writes it anew",
                file.display(),
                line + 1,
                golden.lines().nth(line),
                objects.lines().nth(line),
            );
        }
    }
}

#[test]
fn no_manifest_is_without_a_golden_file() {
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
