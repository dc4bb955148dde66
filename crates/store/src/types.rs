//! The results of reads and watches.

use std::sync::Arc;

use bytes::Bytes;

use crate::Revision;

/// One stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Arc<str>,
    /// The revision of its last change.
    pub revision: Revision,
    /// The revision that created it, after its last delete if there was one.
    pub created: Revision,
    /// Its bytes, as stored.
    pub value: Bytes,
}

/// Options of a list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions<'a> {
    /// Start after this key, which need not exist.
    pub after: Option<&'a str>,
    /// At most this many entries; 0 is no limit.
    pub limit: usize,
    /// The state as of this revision; `None` is the newest one.
    pub at: Option<Revision>,
}

/// A list, or one page of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries in key order.
    pub entries: Vec<Entry>,
    /// The revision of this state.
    pub revision: Revision,
    /// Whether the limit left entries out.
    pub more: bool,
    /// The number of entries that the limit left out.
    pub remaining: usize,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was removed.
    Delete,
}

/// A change as a watch reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// The key it happened to.
    pub key: Arc<str>,
    /// What happened.
    pub kind: EventKind,
    /// The new bytes; for a delete the last stored ones.
    pub value: Bytes,
    /// The bytes before the change; `None` if the key did not exist.
    pub previous: Option<Bytes>,
    /// Whether the change created the key.
    pub created: bool,
}

/// The requested history is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history up to revision {floor} is no longer kept")]
pub struct TooOld {
    /// The oldest revision that can be read or watched from.
    pub floor: Revision,
}

/// Why a list or a watch cannot start at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The required history is no longer kept.
    #[error("the history up to revision {floor} is no longer kept")]
    TooOld {
        /// The oldest revision that can be read or watched from.
        floor: Revision,
    },
    /// There is no such revision yet.
    #[error("the revision is in the future; the newest one is {current}")]
    Future {
        /// The newest revision.
        current: Revision,
    },
}
