//! Jobs that were written for earlier operators are accepted unchanged.

use mxjob_api::{
    CleanPodPolicy, Job, JobMode, RestartPolicy, Role, SuccessPolicy, pods, replace, unknown,
    validate,
};
use serde_json::Value;

macro_rules! wild {
    ($name:literal) => {
        ($name, include_str!(concat!("../data/wild/", $name, ".yaml")))
    };
}

const WILD: [(&str, &str); 9] = [
    wild!("flat-train-gpu"),
    wild!("flat-byteps"),
    wild!("flat-tune"),
    wild!("nested-train"),
    wild!("nested-byteps"),
    wild!("nested-tune"),
    wild!("queued"),
    wild!("trial"),
    wild!("single-worker"),
];

fn object(name: &str) -> Value {
    let (_, text) = WILD.iter().find(|(other, _)| *other == name).unwrap();
    mxjob_machinery::yaml::decode(text.as_bytes()).unwrap()
}

fn job(name: &str) -> Job {
    Job::from_value(&object(name)).unwrap()
}

#[test]
fn published_jobs_are_accepted_without_unknown_fields() {
    for (name, _) in WILD {
        let object = object(name);
        assert_eq!(validate::validate(&object).to_string(), "[]", "{name}");
        assert_eq!(unknown::fields(&object), Vec::<String>::new(), "{name}");
        assert_eq!(replace::check(&object, &object).to_string(), "[]", "{name}");
    }
}

#[test]
fn published_jobs_become_pods_and_services() {
    for (name, _) in WILD {
        let job = job(name);
        for replica in &job.replicas {
            for index in 0..replica.count {
                let pod = pods::pod(&job, replica.role, index).unwrap();
                let service = pods::service(&job, replica.role, index).unwrap();
                assert_eq!(pod["metadata"]["name"], service["metadata"]["name"], "{name}");
                assert_eq!(service["spec"]["ports"][0]["port"], replica.port, "{name}");
            }
        }
    }
}

#[test]
fn published_jobs_have_their_documented_meaning() {
    assert_eq!(job("flat-train-gpu").total(), 3);

    let byteps = job("flat-byteps");
    assert_eq!(
        (byteps.clean_pod_policy, byteps.success_policy),
        (CleanPodPolicy::Running, SuccessPolicy::AllWorkers)
    );
    assert_eq!((byteps.count(Role::Server), byteps.count(Role::Worker)), (2, 2));
    assert_eq!(job("nested-byteps").clean_pod_policy, CleanPodPolicy::Running);

    for name in ["flat-tune", "nested-tune"] {
        let tune = job(name);
        assert_eq!(tune.mode, JobMode::MXTune);
        assert_eq!(
            tune.replica(Role::TunerServer).unwrap().label.as_deref(),
            Some("2080ti"),
            "{name}"
        );
    }

    let nested = job("nested-train");
    assert_eq!(nested.clean_pod_policy, CleanPodPolicy::None);
    assert_eq!((nested.backoff_limit, nested.active_deadline_seconds), (Some(3), Some(3600)));
    assert_eq!(nested.ttl_seconds_after_finished, Some(600));
    assert!(nested.replicas.iter().all(|replica| replica.port == 9991));

    let queued = job("queued");
    assert!(queued.suspend);
    assert_eq!(queued.scheduling.min_available, 3);

    let trial = job("trial");
    assert_eq!((trial.backoff_limit, trial.clean_pod_policy), (Some(2), CleanPodPolicy::All));
    assert!(trial.replicas.iter().all(|replica| replica.restart_policy == RestartPolicy::ExitCode));

    assert_eq!(job("single-worker").total(), 1);
}
