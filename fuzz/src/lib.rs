//! Mutated input for every decoder of the API.
//!
//! A [`Target`] is a function over bytes that panics on a violation: a decoder panicked, the API
//! answered with a 500 that a real server would not give, or rejected input changed an object.
//! [`drive::run`] feeds it the files of `corpus/` and mutations of them; the same seed gives the
//! same inputs on every machine.
//!
//! Owns: targets, corpus, mutation, the loop. Never does: measure coverage; see `README.md`.
#![allow(clippy::panic, reason = "a target reports a violation by a panic")]

pub mod corpus;
pub mod drive;
mod known;
pub mod mutate;
mod server;
pub mod targets;

/// A decoder to feed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and the name of its folder in `corpus/`.
    pub name: &'static str,
    /// The form of its input.
    pub form: Form,
    /// Words with a meaning for the decoder.
    pub words: &'static [&'static str],
    /// Decodes one input; panics on a violation.
    pub run: fn(&[u8]),
}

/// The form of an input, so that mutations get past the first check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON document.
    Json,
    /// A YAML document.
    Yaml,
    /// Text, or bytes without a structure.
    Plain,
}
