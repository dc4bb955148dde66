//! The log on disk. The only module that knows the storage engine.
//!
//! Layout of the engine's folder `DIR/log`: keyspace `log` holds the records by position (see
//! `record`), keyspace `meta` the format version, the floor of the history, and since when
//! entries expire. The newest revision
//! is not stored separately: a record is removed only when the floor has reached it, in the same
//! batch.

mod reclaim;
mod torn;

use std::{
    error::Error as StdError,
    fs::{self, File},
    io,
    path::Path,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::{
    Expiry, OpenError, Revision,
    expiry::Index,
    memory::{Memory, Trim},
    record::{Position, Record},
};
use reclaim::Reclaim;

/// The format version this release writes. Version 1 has no deadlines, and is read, too.
const FORMAT: u32 = 2;

const FOLDER: &str = "log";
/// A folder that is not complete yet. The engine cannot open one whose creation was interrupted, so
/// a new folder is renamed only when it is complete.
const NEW_FOLDER: &str = "log.new";

const FORMAT_KEY: &str = "format";
const FLOOR_KEY: &str = "floor";
/// Followed by a prefix: when the store was first opened with a rule for it.
const EXPIRY_KEY: &str = "expiry:";

/// Nothing is read again after the start, so small caches suffice.
const CACHE_BYTES: u64 = 4 << 20;
/// How much the engine collects in memory before it writes a table. These objects are in memory
/// twice.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The engine's minimum for its journals.
const JOURNAL_BYTES: u64 = 64 << 20;
/// Tables that are kept open. The engine's default of 900 would not fit the usual limit of 1,024
/// descriptors beside the connections.
const OPEN_TABLES: usize = 64;
/// One thread to write tables, and one to merge them at the same time.
const WORKERS: usize = 2;

/// Changes that are written to disk atomically.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<(Position, Bytes)>,
    pub(crate) trim: Trim,
    /// The bytes of all objects and of the history, before the batch.
    pub(crate) kept_bytes: usize,
}

/// A log of batches: the one on disk, or one for tests that fails on demand.
pub(crate) trait Engine: Send {
    /// Returns when the batch is durable. After an error the engine must not be used again.
    fn write(&mut self, batch: &Batch) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// The log on disk.
pub(crate) struct Disk {
    reclaim: Reclaim,
    // Before `database`, which must be dropped last.
    log: Keyspace,
    meta: Keyspace,
    database: Database,
}

// === impl Batch ===

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.trim.floor.is_none()
    }
}

// === impl Disk ===

impl Engine for Disk {
    fn write(&mut self, batch: &Batch) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let mut out = self.database.batch().durability(Some(PersistMode::SyncData));
        for (position, record) in &batch.records {
            out.insert(&self.log, position.encode(), &**record);
        }
        for position in &batch.trim.records {
            out.remove(&self.log, position.encode());
        }
        if let Some(floor) = batch.trim.floor {
            out.insert(&self.meta, FLOOR_KEY, floor.get().to_be_bytes());
        }
        out.commit()?;
        self.reclaim.advance(&self.log, batch.trim.bytes as u64, batch.kept_bytes as u64);
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.reclaim.finish();
    }
}

impl Disk {
    /// Opens the log in a data directory, creating it if it does not exist, and reads it.
    pub(crate) fn open(dir: &Path, expiry: Option<&Expiry>) -> Result<(Self, Memory), OpenError> {
        if !dir.join(FOLDER).exists() {
            Self::create(dir)?;
        }
        let folder = dir.join(FOLDER);
        let mut disk = match Self::open_folder(&folder) {
            Err(err @ fjall::Error::JournalRecovery(_)) => Self::open_torn(dir, &folder, err)?,
            other => other.map_err(|err| refused(dir, err))?,
        };
        let memory = disk.read(dir, expiry)?;
        let removed = disk.log.disk_space().saturating_sub(memory.kept_bytes() as u64);
        disk.reclaim = Reclaim::new(removed);
        Ok((disk, memory))
    }

    /// Opens the log without its last batch, if only that batch is broken.
    fn open_torn(dir: &Path, folder: &Path, error: fjall::Error) -> Result<Self, OpenError> {
        let refused_io = |err| OpenError::io(dir, "repair the end of the log", err);
        let Some(cut) = torn::cut(folder).map_err(refused_io)? else {
            return Err(refused(dir, error));
        };
        Self::open_folder(folder).or_else(|_| {
            cut.undo().map_err(refused_io)?;
            Err(refused(dir, error))
        })
    }

    fn create(dir: &Path) -> Result<(), OpenError> {
        let refused_io = |err| OpenError::io(dir, "create the log", err);
        let new = dir.join(NEW_FOLDER);
        match fs::remove_dir_all(&new) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(refused_io(err)),
            _ => {}
        }
        let disk = Self::open_folder(&new).map_err(|err| refused(dir, err))?;
        disk.meta
            .insert(FORMAT_KEY, FORMAT.to_be_bytes())
            .and_then(|()| disk.database.persist(PersistMode::SyncAll))
            .map_err(|err| refused(dir, err))?;
        drop(disk);
        fs::rename(&new, dir.join(FOLDER)).map_err(refused_io)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(refused_io)
    }

    fn open_folder(folder: &Path) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_TABLES))
            .worker_threads(WORKERS)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let log = database.keyspace("log", options)?;
        let meta = database.keyspace("meta", options)?;
        let reclaim = Reclaim::new(0);
        Ok(Self { reclaim, log, meta, database })
    }

    fn read(&self, dir: &Path, expiry: Option<&Expiry>) -> Result<Memory, OpenError> {
        let damaged = |detail: String| OpenError::Damaged { dir: dir.to_owned(), detail };
        let number = |key: &str| self.meta.get(key).map_err(|err| refused(dir, err));

        let found = number(FORMAT_KEY)?
            .and_then(|bytes| Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?)));
        match found {
            Some(FORMAT) => {}
            // An older release must not read the records that this one adds.
            Some(1) => self.set_number(dir, FORMAT_KEY, &FORMAT.to_be_bytes())?,
            Some(found) if found > FORMAT => {
                return Err(OpenError::NewerFormat {
                    dir: dir.to_owned(),
                    found,
                    supported: FORMAT,
                });
            }
            _ => return Err(damaged("it has no known format version".to_owned())),
        }
        let floor = match number(FLOOR_KEY)? {
            None => Revision::ZERO,
            Some(bytes) => match bytes.as_ref().try_into() {
                Ok(bytes) => Revision::new(u64::from_be_bytes(bytes)),
                Err(_) => {
                    return Err(damaged("the floor of its history is not a number".to_owned()));
                }
            },
        };

        let mut memory = Memory::empty(floor, self.expiring(dir, expiry)?);
        for item in self.log.iter() {
            let (key, value) = item.into_inner().map_err(|err| refused(dir, err))?;
            let position = Position::decode(&key)
                .ok_or_else(|| damaged("a record has no position".to_owned()))?;
            let record = Record::decode(&value).ok_or_else(|| {
                damaged(format!("the record of revision {} cannot be read", position.revision))
            })?;
            memory.load(position, record);
        }
        Ok(memory)
    }
}

impl Disk {
    /// The rules. An entry that was stored before a rule counts as written when the store is first
    /// opened with it.
    fn expiring(&self, dir: &Path, expiry: Option<&Expiry>) -> Result<Index, OpenError> {
        let mut index = Index::default();
        let Some(expiry) = expiry else { return Ok(index) };
        for rule in &expiry.rules {
            let key = format!("{EXPIRY_KEY}{}", rule.prefix);
            let known = self.meta.get(&key).map_err(|err| refused(dir, err))?;
            let known =
                known.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)));
            let since = known.unwrap_or_else(|| expiry.now());
            if known.is_none() {
                self.set_number(dir, &key, &since.to_be_bytes())?;
            }
            index.add_rule(rule.clone(), since);
        }
        Ok(index)
    }

    fn set_number(&self, dir: &Path, key: &str, bytes: &[u8]) -> Result<(), OpenError> {
        let mut out = self.database.batch().durability(Some(PersistMode::SyncData));
        out.insert(&self.meta, key, bytes);
        out.commit().map_err(|err| refused(dir, err))
    }
}

/// Translates an engine error at the start for the user.
fn refused(dir: &Path, error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Io(err) | fjall::Error::Storage(fjall::LsmError::Io(err)) => {
            OpenError::io(dir, "open the log", err)
        }
        fjall::Error::Locked => OpenError::Locked { dir: dir.to_owned(), holder: None },
        other => OpenError::Damaged { dir: dir.to_owned(), detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Expect, Options, Store, Transaction, Value};

    #[test]
    fn records_outside_the_history_leave_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { history_events: 5, ..Options::default() };
        let store = Store::open(dir.path(), options).unwrap();
        for turn in 0..60 {
            // Some are deleted, some replaced first, and some stay.
            let key = format!("key-{}", turn / 3);
            let transaction = match turn % 6 {
                2 | 4 => Transaction::delete(key, Expect::Any),
                _ => Transaction::put(key, Expect::Any, Value::plain("value")),
            };
            store.commit(transaction).wait().unwrap();
        }
        store.close();

        let (disk, memory) = Disk::open(dir.path(), None).unwrap();
        let on_disk: BTreeSet<_> =
            disk.log.iter().map(|item| Position::decode(&item.key().unwrap()).unwrap()).collect();
        assert_eq!(on_disk, memory.positions());
        assert!(memory.floor() > Revision::new(50));
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(dir.path(), None).unwrap();
        disk.meta.insert(FORMAT_KEY, 7_u32.to_be_bytes()).unwrap();
        drop(disk);
        let Err(refused) = Disk::open(dir.path(), None) else { panic!("opened") };
        assert_eq!(
            refused.to_string(),
            format!(
                "the data directory {} has format version 7 and this release supports versions up \
                 to 2; use a newer release or another data directory",
                dir.path().display()
            )
        );
    }

    #[test]
    fn a_record_that_cannot_be_read_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(dir.path(), None).unwrap();
        let position = Position { revision: Revision::new(9), index: 0 };
        disk.log.insert(position.encode(), "?").unwrap();
        drop(disk);
        let Err(refused) = Disk::open(dir.path(), None) else { panic!("opened") };
        assert_eq!(
            refused.to_string(),
            format!(
                "the data directory {} is damaged (the record of revision 9 cannot be read); \
                 restore it from a backup",
                dir.path().display()
            )
        );
    }
}
