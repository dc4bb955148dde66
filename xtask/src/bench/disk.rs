//! The reference for the store: appends with a sync of each per second on this disk.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The size of a replaced job with the fields that the API server adds.
const RECORD: usize = 2048;

/// Appends records to a file in `folder`, each followed by `fdatasync`, for `during`.
pub(crate) fn appends_per_second(folder: &Path, during: Duration) -> Result<f64> {
    let path = folder.join("appends");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let record = [b'x'; RECORD];
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < during {
        file.write_all(&record)
            .and_then(|()| file.sync_data())
            .context("cannot append and sync")?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(rate)
}
