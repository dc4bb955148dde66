//! The page about the fields of pods says what the table says.

use std::path::Path;

use mxjob_machinery::pod_fields;

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/pod-fields.md");
    let wanted = pod_fields::page();
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the table says; run `cargo xtask codegen`",
        path.display()
    );
}
