//! Removes a half-written batch from the end of the engine's newest journal.
//!
//! If power fails during a write, some sectors of the last batch may be on disk while others are
//! still zero. The engine itself drops a last batch without an end, but refuses to open the log if
//! the end is there and a sector before it is missing. That batch was not synced and therefore
//! never acknowledged, so dropping it loses no acknowledged change.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// A disk writes a unit of this many bytes completely or not at all.
const SECTOR: usize = 512;

/// The removed end, to restore it if another batch is broken.
pub(super) struct Cut {
    file: File,
    at: u64,
    byte: u8,
    len: u64,
}

/// Cuts off the last byte of the newest journal, which leaves its last batch without an end, if the
/// journal has a sector that was never written. Otherwise complete data was damaged: `None`.
pub(super) fn cut(folder: &Path) -> io::Result<Option<Cut>> {
    let Some(path) = newest_journal(folder)? else { return Ok(None) };
    let bytes = fs::read(&path)?;
    let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return Ok(None) };
    let (written, _) = bytes.split_at(last);
    if !written.chunks_exact(SECTOR).any(|sector| sector.iter().all(|byte| *byte == 0)) {
        return Ok(None);
    }
    let file = File::options().write(true).open(&path)?;
    let byte = bytes.get(last).copied().unwrap_or_default();
    let cut = Cut { file, at: last as u64, byte, len: bytes.len() as u64 };
    cut.file.set_len(cut.at)?;
    cut.file.sync_all()?;
    Ok(Some(cut))
}

impl Cut {
    pub(super) fn undo(mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.write_all(&[self.byte])?;
        self.file.set_len(self.len)?;
        self.file.sync_all()
    }
}

fn newest_journal(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok());
        newest = newest.max(number.map(|number| (number, path)));
    }
    Ok(newest.map(|(_, path)| path))
}
