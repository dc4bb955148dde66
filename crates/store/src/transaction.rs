//! Transactions: the operations of a writer, with their preconditions.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use crate::{Entry, Revision};

/// The bytes to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    prefix: Bytes,
    /// If set, the transaction's revision is written between the two, in decimal.
    suffix: Option<Bytes>,
}

/// The precondition of an operation: the expected state of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Any state.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists and was last changed at this revision.
    At(Revision),
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores a value.
    Put {
        /// The key.
        key: Arc<str>,
        /// The expected state before the transaction.
        expect: Expect,
        /// The bytes.
        value: Value,
    },
    /// Removes a key. Removing a key that does not exist changes nothing and is no conflict; use
    /// [`Expect::At`] where it should be one.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The expected state before the transaction.
        expect: Expect,
    },
    /// Changes nothing, only checks.
    Check {
        /// The key.
        key: Arc<str>,
        /// The expected state.
        expect: Expect,
    },
}

/// Operations that are applied together or not at all, under one revision.
///
/// All expectations refer to the state before the transaction, so a key may be written only once. A
/// transaction that changes nothing (for example only checks) gets no revision. Since all changes
/// of a transaction share a revision, a watch that resumes after that revision skips all of them:
/// put objects that a watcher processes one by one into separate transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction(pub Vec<Op>);

// === impl Value ===

impl Value {
    /// Bytes that are stored unchanged.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { prefix: bytes.into(), suffix: None }
    }

    /// Bytes that contain their own revision: `prefix`, the revision in decimal, `suffix`. The
    /// revision is known only at the commit, so the store inserts it.
    pub fn stamped(prefix: impl Into<Bytes>, suffix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), suffix: Some(suffix.into()) }
    }

    /// An upper bound on the length of the stored value.
    pub(crate) fn max_len(&self) -> usize {
        const MAX_REVISION_LEN: usize = 20;
        self.prefix.len() + self.suffix.as_ref().map_or(0, |suffix| suffix.len() + MAX_REVISION_LEN)
    }

    pub(crate) fn write(&self, revision: Revision, out: &mut Vec<u8>) {
        out.put_slice(&self.prefix);
        if let Some(suffix) = &self.suffix {
            out.put_slice(revision.to_string().as_bytes());
            out.put_slice(suffix);
        }
    }
}

// === impl Expect ===

impl Expect {
    pub(crate) fn holds(self, current: Option<&Entry>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::At(revision) => current.is_some_and(|entry| entry.revision == revision),
        }
    }
}

// === impl Op ===

impl Op {
    /// The key of the operation.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    pub(crate) fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } | Self::Check { expect, .. } => {
                *expect
            }
        }
    }
}

// === impl Transaction ===

impl Transaction {
    /// Stores a value under a key that must not exist.
    pub fn create(key: impl Into<Arc<str>>, value: Value) -> Self {
        Self(vec![Op::Put { key: key.into(), expect: Expect::Absent, value }])
    }

    /// Stores a value.
    pub fn put(key: impl Into<Arc<str>>, expect: Expect, value: Value) -> Self {
        Self(vec![Op::Put { key: key.into(), expect, value }])
    }

    /// Removes a key.
    pub fn delete(key: impl Into<Arc<str>>, expect: Expect) -> Self {
        Self(vec![Op::Delete { key: key.into(), expect }])
    }

    /// How many bytes of a batch it takes.
    pub(crate) fn weight(&self) -> usize {
        self.0
            .iter()
            .map(|op| match op {
                Op::Put { key, value, .. } => key.len() + value.max_len(),
                Op::Delete { key, .. } | Op::Check { key, .. } => key.len(),
            })
            .sum()
    }
}
