//! The verbs, each for all kinds.

pub(crate) mod binding;
pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod eviction;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod patch;
pub(crate) mod review;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod watch;
