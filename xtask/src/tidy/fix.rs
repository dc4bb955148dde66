//! `fmt`: brings comments and imports into the form that `tidy` asks for, then runs rustfmt.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Tree, comments, imports};
use crate::run;

/// Rewrites the Rust files below the folders in `arguments`, by default all.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let tree = Tree::read()?;
    let is_selected = |file: &Path| {
        arguments.is_empty() || arguments.iter().any(|folder| file.starts_with(folder))
    };
    let mut count = 0;
    for file in tree.with_extension("rs").filter(|file| is_selected(file)) {
        let text = tree.text(file)?;
        let fixed = imports::sorted(&comments::wrapped(&text));
        if fixed != text {
            std::fs::write(tree.root.join(file), fixed)
                .with_context(|| format!("cannot write {}", file.display()))?;
            count += 1;
        }
    }
    println!("fmt: {count} files changed; now rustfmt");
    run::check(run::cargo().args(["fmt", "--all"]))
}
