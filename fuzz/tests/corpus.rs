//! Every target gets its corpus and a fixed number of mutations.
#![allow(clippy::panic)]

use std::time::Duration;

use mxjob_fuzz::drive::{self, Budget, Failure};
use mxjob_fuzz::targets::{self, TARGETS};

#[track_caller]
fn check(name: &str, count: u64) {
    let target = targets::find(name).expect("there is such a target");
    // Limited by a number and not by a time, so that a failure is the same everywhere.
    let budget = Budget { seed: 1, count, time: Duration::MAX };
    if let Err(Failure { message, path }) =
        drive::run(target, budget).expect("the corpus can be read")
    {
        panic!("{message}\nreplay: cargo xtask fuzz {name} {}", path.display());
    }
}

macro_rules! targets {
    ($($test:ident: $name:literal, $count:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name, $count);
        })*

        #[test]
        fn every_target_is_tested() {
            let tested = [$($name),*];
            let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, tested);
        }
    };
}

targets! {
    apply_takes_anything: "apply", 20;
    bodies_in_json_take_anything: "body-json", 20;
    bodies_in_yaml_take_anything: "body-yaml", 20;
    continue_tokens_take_anything: "continue-token", 50;
    delete_options_take_anything: "delete-options", 20;
    field_selectors_take_anything: "field-selector", 100;
    files_take_anything: "files", 1000;
    json_patches_take_anything: "json-patch", 20;
    json_paths_take_anything: "jsonpath", 5000;
    label_selectors_take_anything: "label-selector", 100;
    logs_take_anything: "log", 5000;
    merge_patches_take_anything: "merge-patch", 20;
    paths_take_anything: "path", 50;
    protobuf_takes_anything: "protobuf", 50;
    quantities_take_anything: "quantity", 5000;
    queries_take_anything: "query", 20;
    schemas_take_anything: "schema", 2000;
    strategic_patches_take_anything: "strategic-patch", 20;
}
