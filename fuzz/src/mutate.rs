//! Makes one input of another. Most changes keep a document well-formed, so that it gets past the
//! parser; the others change bytes.

mod bytes;
mod tree;

use mxjob_machinery::{json, yaml};
use mxjob_testkit::Random;

use crate::corpus::Seed;
use crate::{Form, Target};

/// The size of the longest input in bytes. Larger ones are rejected for their size.
const LENGTH_MAX: usize = 512 * 1024;

/// A mutated input of the corpus.
#[must_use]
pub fn mutate(target: &Target, seeds: &[Seed], random: &mut Random) -> Vec<u8> {
    let mut input = random.choose(seeds).map(|seed| seed.bytes.clone()).unwrap_or_default();
    let other = random.choose(seeds).map(|seed| seed.bytes.clone()).unwrap_or_default();
    // Mostly one change: with many, no input gets past the first check.
    loop {
        input = match target.form {
            Form::Json | Form::Yaml if !random.one_in(4) => {
                match (decode(target.form, &input), decode(target.form, &other)) {
                    (Some(mut value), Some(other)) => {
                        tree::mutate(&mut value, &other, target.words, random);
                        encode(target.form, &value)
                    }
                    _ => bytes::mutate(input, &other, target.words, random),
                }
            }
            _ => bytes::mutate(input, &other, target.words, random),
        };
        input.truncate(LENGTH_MAX);
        if !random.one_in(3) {
            return input;
        }
    }
}

fn decode(form: Form, input: &[u8]) -> Option<serde_json::Value> {
    match form {
        Form::Json => json::decode(input).ok(),
        Form::Yaml => yaml::decode(input).ok(),
        Form::Plain => None,
    }
}

fn encode(form: Form, value: &serde_json::Value) -> Vec<u8> {
    match form {
        Form::Yaml => yaml::encode(value).into_bytes(),
        Form::Json | Form::Plain => value.to_string().into_bytes(),
    }
}
