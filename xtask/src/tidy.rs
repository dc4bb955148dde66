//! `tidy`: the rules of this repository that no other tool checks.
//!
//! Each check returns one sentence for each violation, with its place. All checks run before the
//! command fails.

mod calls;
mod comments;
mod dependencies;
mod documents;
pub(crate) mod fix;
mod generated;
mod imports;
mod modules;
mod scan;
mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Names of folders with built, installed or recorded files.
const NOT_OURS: &[&str] = &[".git", ".demo", "target", "__pycache__"];

/// The repository's root and its files, for the checks.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// Relative to the root, sorted.
    pub(crate) files: Vec<PathBuf>,
}

impl Tree {
    fn read() -> Result<Self> {
        let root = run::root();
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder);
            for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
                let path =
                    entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
                // A link to a folder could lead out of the repository, or back into it.
                if path.is_dir() && !path.is_symlink() {
                    let name = path.file_name().unwrap_or_default();
                    if !NOT_OURS.iter().any(|other| name == *other) {
                        folders.push(path);
                    }
                } else if let Ok(file) = path.strip_prefix(&root) {
                    files.push(file.to_owned());
                }
            }
        }
        files.sort();
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

/// A check's name, and its function, which returns the violations.
type Check = (&'static str, fn(&Tree) -> Result<Vec<String>>);

const CHECKS: &[Check] = &[
    ("sources", sources::check),
    ("comments", comments::check),
    ("imports", imports::check),
    ("calls", calls::check),
    ("dependencies", dependencies::check),
    ("modules", modules::check),
    ("documents", documents::check),
    ("generated files", generated::check),
];

/// Runs all checks.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let tree = Tree::read()?;
    let mut count = 0;
    for (name, check) in CHECKS {
        let found = check(&tree).with_context(|| format!("cannot check the {name}"))?;
        println!("tidy: {name}: {}", if found.is_empty() { "ok" } else { "failed" });
        for problem in &found {
            println!("  {problem}");
        }
        count += found.len();
    }
    if count > 0 {
        bail!("{count} violation(s)");
    }
    Ok(())
}
