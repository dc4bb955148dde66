//! The limits of a store.

/// Limits of a store; [`Options::default`] suits one machine's control plane.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many changes are kept for lists at a revision and for watches. More may be kept for a
    /// short time.
    pub history_events: usize,
    /// How many bytes of keys and values those changes may hold in memory, whatever their number.
    pub history_bytes: usize,
    /// How many transactions are made durable by one sync.
    pub batch_max: usize,
    /// How many transactions may wait; the next is refused with
    /// [`CommitError::Full`](crate::CommitError::Full) rather than queued.
    pub queue_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Five minutes, the age at which API servers give up list continuations, at 100
            // changes a second.
            history_events: 30_000,
            history_bytes: 64 << 20,
            batch_max: 256,
            // Four batches: at a millisecond or two each, what is queued is still answered soon.
            queue_max: 1_024,
        }
    }
}
