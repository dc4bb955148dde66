//! The limits of a store.

use crate::Expiry;

/// Limits of a store; [`Options::default`] suits one machine's control plane.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many changes are kept for lists at a revision and for watches. More are kept for a short
    /// time.
    pub history_events: usize,
    /// How many bytes of keys and values those changes may use in memory, regardless of their
    /// number.
    pub history_bytes: usize,
    /// The most transactions that one sync makes durable.
    pub batch_max: usize,
    /// The most transactions that may be queued; the next one is refused with
    /// [`CommitError::Full`](crate::CommitError::Full).
    pub queue_max: usize,
    /// Which entries expire; `None` for none.
    pub expiry: Option<Expiry>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Five minutes at 100 changes a second; API servers expire continue tokens at that age.
            history_events: 30_000,
            history_bytes: 64 << 20,
            batch_max: 256,
            // Four batches: at a millisecond or two each, queued requests are still answered soon.
            queue_max: 1_024,
            expiry: None,
        }
    }
}
