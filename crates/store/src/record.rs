//! The encoding of a change in the log.
//!
//! The key of a record is its [`Position`]: the revision and the number of the change within it,
//! big-endian, so that the order of keys is the order of changes. The record itself:
//!
//! ```text
//! kind │ created revision, u64 BE │ length of key, u32 BE │ key │ deadline, u64 BE │ value
//! ```
//!
//! The kind is 1 for a put, 2 for a delete, and 3 for a put with a deadline, which only this kind
//! has. It has no checksum, since the engine verifies what it reads.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use crate::{Entry, EventKind, Revision, Value};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const PUT_UNTIL: u8 = 3;
const HEADER: usize = 1 + 8 + 4;
const DEADLINE: usize = 8;

/// The seconds since the Unix epoch at which an entry expires.
pub(crate) type Deadline = u64;

/// The position of a record in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) revision: Revision,
    pub(crate) index: u16,
}

/// An entry and the index of its record within the revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    pub(crate) index: u16,
    /// When it expires, if it does.
    pub(crate) deadline: Option<Deadline>,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: EventKind,
    pub(crate) created: Revision,
    pub(crate) key: Arc<str>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) value: Bytes,
}

// === impl Position ===

impl Position {
    pub(crate) fn encode(self) -> [u8; 10] {
        let mut key = [0; 10];
        let (revision, index) = key.split_at_mut(8);
        revision.copy_from_slice(&self.revision.get().to_be_bytes());
        index.copy_from_slice(&self.index.to_be_bytes());
        key
    }

    pub(crate) fn decode(mut key: &[u8]) -> Option<Self> {
        if key.len() != 10 {
            return None;
        }
        Some(Self { revision: Revision::new(key.get_u64()), index: key.get_u16() })
    }
}

// === impl Stored ===

impl Stored {
    pub(crate) fn position(&self) -> Position {
        Position { revision: self.entry.revision, index: self.index }
    }

    /// The bytes of key and value.
    pub(crate) fn bytes(&self) -> usize {
        self.entry.key.len() + self.entry.value.len()
    }
}

// === impl Record ===

/// The bytes of a put and, as a part of them, the value as stored.
pub(crate) fn encode_put(
    key: &str,
    created: Revision,
    value: &Value,
    revision: Revision,
    deadline: Option<Deadline>,
) -> (Bytes, Bytes) {
    let kind = if deadline.is_some() { PUT_UNTIL } else { PUT };
    let mut out = header(kind, key, created, DEADLINE + value.max_len());
    if let Some(deadline) = deadline {
        out.put_u64(deadline);
    }
    let start = out.len();
    value.write(revision, &mut out);
    let record = Bytes::from(out);
    let value = record.slice(start..);
    (record, value)
}

/// The bytes of a delete. The removed value is in the key's previous record, which stays until the
/// delete leaves the history.
pub(crate) fn encode_delete(key: &str, created: Revision) -> Bytes {
    header(DELETE, key, created, 0).into()
}

fn header(kind: u8, key: &str, created: Revision, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + key.len() + room);
    out.put_u8(kind);
    out.put_u64(created.get());
    // Longer keys are refused with their transaction.
    out.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
    out.put_slice(key.as_bytes());
    out
}

impl Record {
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER {
            return None;
        }
        let (kind, expires) = match bytes.get_u8() {
            PUT => (EventKind::Put, false),
            PUT_UNTIL => (EventKind::Put, true),
            DELETE => (EventKind::Delete, false),
            _ => return None,
        };
        let created = Revision::new(bytes.get_u64());
        let key_len = usize::try_from(bytes.get_u32()).ok()?;
        let (key, mut value) = bytes.split_at_checked(key_len)?;
        let key = std::str::from_utf8(key).ok()?.into();
        let mut deadline = None;
        if expires {
            let (number, rest) = value.split_first_chunk::<DEADLINE>()?;
            (deadline, value) = (Some(Deadline::from_be_bytes(*number)), rest);
        }
        // Copied, since a slice would keep the engine's whole block in memory.
        Some(Self { kind, created, key, deadline, value: Bytes::copy_from_slice(value) })
    }
}
