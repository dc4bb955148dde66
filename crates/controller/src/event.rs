//! Events about a job, before they become objects of the API.

/// An event about the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its `type`.
    pub kind: EventKind,
    /// A CamelCase word for programs.
    pub reason: String,
    /// A sentence for users.
    pub message: String,
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An expected transition.
    Normal,
    /// A failure.
    Warning,
}
