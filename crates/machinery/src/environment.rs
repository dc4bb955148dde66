//! Time and randomness as an interface: pure code and tests decide where they come from.

use std::fmt;

use jiff::Timestamp;

/// Where the API server gets time and randomness from.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// A new object's uid (a version 4 UUID).
    fn uid(&self) -> String;

    /// The five characters after a `generateName`.
    fn name_suffix(&self) -> String;
}
