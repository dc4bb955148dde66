//! The generated files are what the code says. `UPDATE_MANIFESTS=1` writes them again.

use super::*;
use std::path::Path;

#[test]
fn the_files_of_the_install_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests");
    for File { path, text } in files() {
        let place = folder.join(&path);
        if std::env::var_os("UPDATE_MANIFESTS").is_some() {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&place, &text).unwrap();
        }
        let found = std::fs::read_to_string(&place).unwrap_or_default();
        assert!(
            found == text,
            "manifests/{path} is not what the code says; run `cargo xtask codegen`"
        );
        assert!(text.len() < 1024 * 1024, "manifests/{path} is larger than Helm and kubectl like");
    }
}
