//! Time and randomness, passed in so that tests can decide them.

use jiff::Timestamp;

pub use mxjob_machinery::environment::Environment;

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
