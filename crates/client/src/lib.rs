//! Objects of an API as the clients here read them: one by one.
//!
//! A list or a watch of `Api<Pod>` is decoded as a whole, so one pod that the type cannot hold ends it for all pods. [`Lenient<Pod>`]
//! takes every JSON object there is and says of each whether it could be read; [`Raw`] does not read at all. Neither fails on any
//! object, whatever is in its metadata, spec or status.
//!
//! Owns the two wrappers and the memory of what was reported. Never makes a request; whoever follows objects decides what to do about one
//! that cannot be read, and reports it once a version ([`Reported`]).

mod lenient;
mod raw;
mod reported;

pub use lenient::{Lenient, UNREADABLE, Unreadable};
pub use raw::Raw;
pub use reported::Reported;
