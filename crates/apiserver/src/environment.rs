//! Time and randomness, passed in so that tests can decide them.

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

/// Letters and digits that cannot be misread or form words: the alphabet of generated names.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The machine's clock and random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Environment for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    fn name_suffix(&self) -> String {
        let random = uuid::Uuid::new_v4();
        let letters = random.as_bytes().iter().take(5);
        letters
            .map(|byte| char::from(SUFFIX_ALPHABET[usize::from(*byte) % SUFFIX_ALPHABET.len()]))
            .collect()
    }
}

/// A time as objects carry it: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let seconds = Timestamp::from_second(time.as_second()).unwrap_or(time);
    seconds.to_string()
}
