//! Objects that older operators stored.

use std::path::Path;

use mxjob_migrate::assess;

#[test]
fn the_operator_of_every_stored_object_is_recognized() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/data/stored");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let object = mxjob_machinery::yaml::decode(&std::fs::read(&path).unwrap()).unwrap();
        let assessment = assess(&object, None, "2026-11-24T08:00:00Z".parse().unwrap());
        // The file's name begins with the operator: `training-operator-1.8-failed.yaml`.
        let name = path.file_name().unwrap().to_str().unwrap();
        let operator = assessment.operator.to_string().replace(' ', "-");
        assert!(name.starts_with(&operator), "{name}: {operator}");
        count += 1;
    }
    assert_eq!(count, 5);
}
