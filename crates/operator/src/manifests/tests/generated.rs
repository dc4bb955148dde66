//! The generated files are up to date. `UPDATE_MANIFESTS=1` writes them.

use std::path::Path;

use super::*;

#[test]
fn the_generated_files_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests");
    for File { path, text } in files() {
        let target = folder.join(&path);
        if std::env::var_os("UPDATE_MANIFESTS").is_some() {
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(&target, &text).unwrap();
        }
        let found = std::fs::read_to_string(&target).unwrap_or_default();
        assert!(found == text, "manifests/{path} is out of date; run `cargo xtask codegen`");
        assert!(text.len() < 1024 * 1024, "manifests/{path} is too large for Helm and kubectl");
    }
}
