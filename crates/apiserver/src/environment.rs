//! Time and randomness as parameters, so that tests control them.

use jiff::Timestamp;

pub use mxjob_machinery::environment::Environment;

/// Characters of generated names: not easily confused, and without vowels, so they form no words.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The system's clock and random source.
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
