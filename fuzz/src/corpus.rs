//! The files that mutation starts from.

use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// The folder of this crate.
#[must_use]
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the corpus.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Its path.
    pub path: PathBuf,
    /// Its content, without a line break at the end.
    pub bytes: Vec<u8>,
}

/// The files of a target, in the order of their names.
///
/// # Errors
/// The folder or a file cannot be read, or the folder is empty.
pub fn load(target: &Target) -> io::Result<Vec<Seed>> {
    let folder = home().join("corpus").join(target.name);
    let mut paths = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let seeds = paths.into_iter().map(read).collect::<io::Result<Vec<_>>>()?;
    if seeds.is_empty() {
        return Err(io::Error::other(format!("{} is empty", folder.display())));
    }
    Ok(seeds)
}

/// Reads one file, of the corpus or of `failures/`.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: PathBuf) -> io::Result<Seed> {
    let mut bytes = std::fs::read(&path)?;
    // Editors end files with a line break, which is no part of a selector or a path. Files of
    // `failures/` are used unchanged.
    if path.extension().is_some_and(|extension| extension != "raw") && bytes.last() == Some(&b'\n')
    {
        bytes.pop();
    }
    Ok(Seed { path, bytes })
}
