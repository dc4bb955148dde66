//! Mutated input for every decoder of the API.
//!
//! A [`Target`] is a function over bytes that panics where something is wrong: a decoder panicked, the API answered with
//! a 500 that a real server would not give, or refused input changed something. [`drive::run`] feeds it the files of
//! `corpus/` and what [`mutate`] makes of them, the same for the same seed on every machine.
//!
//! Owns: targets, corpus, mutation, the loop. Never does: measure coverage; see `README.md`.
#![allow(clippy::panic, reason = "a panic is how a target says that something is wrong")]

pub mod corpus;
pub mod drive;
mod known;
pub mod mutate;
pub mod random;
mod server;
pub mod targets;

/// One thing to feed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and the name of its folder in `corpus/`.
    pub name: &'static str,
    /// What its input is made of.
    pub form: Form,
    /// Words that mean something to the decoder.
    pub words: &'static [&'static str],
    /// Takes one input; panics where something is wrong.
    pub run: fn(&[u8]),
}

/// What an input is made of, so that mutations can get past the first check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON document.
    Json,
    /// A YAML document.
    Yaml,
    /// Text, or bytes without a form of their own.
    Plain,
}
