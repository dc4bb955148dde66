//! `tidy`: the rules of this repository that no other tool checks.
//!
//! Each check returns what it found wrong, one sentence each with its place; all of them run before the command fails.

mod dependencies;
mod documents;
mod generated;
mod sources;

use crate::run;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

/// What a check looks at: the repository's root and the files in it that are, or could be, under version control.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// Relative to the root, sorted.
    pub(crate) files: Vec<PathBuf>,
}

impl Tree {
    fn read() -> Result<Self> {
        let root = run::root();
        // Ignored files (build output, the demonstration's environment) are none of our business.
        let listed = run::output(run::command("git").args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))
        .context("tidy needs git to list the files")?;
        let mut files: Vec<PathBuf> = listed.lines().map(PathBuf::from).collect();
        // A file that is deleted but not yet committed is still listed.
        files.retain(|file| root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(Self { root, files })
    }

    /// The files with this extension.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .map(PathBuf::as_path)
            .filter(move |file| file.extension().is_some_and(|found| found == extension))
    }

    /// The text of a file.
    pub(crate) fn text(&self, file: &Path) -> Result<String> {
        std::fs::read_to_string(self.root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))
    }
}

/// A check: its name and what it found.
type Check = (&'static str, fn(&Tree) -> Result<Vec<String>>);

const CHECKS: &[Check] = &[
    ("sources", sources::check),
    ("dependencies", dependencies::check),
    ("documents", documents::check),
    ("generated files", generated::check),
];

/// Runs all checks.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let tree = Tree::read()?;
    let mut count = 0;
    for (name, check) in CHECKS {
        let found = check(&tree).with_context(|| format!("cannot check the {name}"))?;
        println!("tidy: {name}: {}", if found.is_empty() { "ok" } else { "not in order" });
        for problem in &found {
            println!("  {problem}");
        }
        count += found.len();
    }
    if count > 0 {
        bail!("{count} thing(s) to put in order");
    }
    Ok(())
}
