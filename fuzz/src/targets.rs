//! The targets, one decoder each.

mod apply;
mod body;
mod continue_token;
mod delete_options;
mod files;
mod json_patch;
mod jsonpath;
mod log;
mod merge_patch;
mod path;
mod protobuf;
mod quantity;
mod query;
mod schema;
mod selector;
mod strategic_patch;

use crate::{Form, Target};

/// All of them, in the order of their names.
pub const TARGETS: &[Target] = &[
    Target { name: "apply", form: Form::Yaml, words: OBJECT, run: apply::run },
    Target { name: "body-json", form: Form::Json, words: OBJECT, run: body::json },
    Target { name: "body-yaml", form: Form::Yaml, words: OBJECT, run: body::yaml },
    Target {
        name: "continue-token",
        form: Form::Json,
        words: continue_token::WORDS,
        run: continue_token::run,
    },
    Target {
        name: "delete-options",
        form: Form::Json,
        words: delete_options::WORDS,
        run: delete_options::run,
    },
    Target {
        name: "field-selector",
        form: Form::Plain,
        words: selector::WORDS,
        run: selector::fields,
    },
    Target { name: "files", form: Form::Yaml, words: files::WORDS, run: files::run },
    Target { name: "json-patch", form: Form::Json, words: json_patch::WORDS, run: json_patch::run },
    Target { name: "jsonpath", form: Form::Plain, words: jsonpath::WORDS, run: jsonpath::run },
    Target {
        name: "label-selector",
        form: Form::Plain,
        words: selector::WORDS,
        run: selector::labels,
    },
    Target { name: "log", form: Form::Plain, words: log::WORDS, run: log::run },
    Target { name: "merge-patch", form: Form::Json, words: OBJECT, run: merge_patch::run },
    Target { name: "path", form: Form::Plain, words: path::WORDS, run: path::run },
    Target { name: "protobuf", form: Form::Plain, words: protobuf::WORDS, run: protobuf::run },
    Target { name: "quantity", form: Form::Plain, words: quantity::WORDS, run: quantity::run },
    Target { name: "query", form: Form::Plain, words: query::WORDS, run: query::run },
    Target { name: "schema", form: Form::Json, words: schema::WORDS, run: schema::run },
    Target {
        name: "strategic-patch",
        form: Form::Json,
        words: strategic_patch::WORDS,
        run: strategic_patch::run,
    },
];

/// The target with a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Names and values in objects.
const OBJECT: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "fieldsV1",
    "generateName",
    "spec",
    "status",
    "mxReplicaSpecs",
    "Worker",
    "Scheduler",
    "Server",
    "replicas",
    "template",
    "restartPolicy",
    "runPolicy",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "cleanPodPolicy",
    "schedulingPolicy",
    "minAvailable",
    "jobMode",
    "MXTrain",
    "MXTune",
    "containers",
    "initContainers",
    "image",
    "env",
    "valueFrom",
    "fieldRef",
    "fieldPath",
    "resources",
    "limits",
    "requests",
    "cpu",
    "memory",
    "nvidia.com/gpu",
    "1Gi",
    "500m",
    "ports",
    "containerPort",
    "protocol",
    "TCP",
    "volumes",
    "volumeMounts",
    "mountPath",
    "emptyDir",
    "hostPath",
    "tolerations",
    "conditions",
    "type",
    "lastTransitionTime",
    "2026-01-01T00:00:00Z",
    "Never",
    "a",
    "mxnet",
    "v1",
    "kubeflow.org/v1",
    "MXJob",
    "Pod",
    "ConfigMap",
    "f:metadata",
    "k:{\"name\":\"a\"}",
    ".",
    "data",
    "binaryData",
];
