//! API objects, decoded one by one by our `kube` clients.
//!
//! A list or a watch of `Api<Pod>` is decoded as a whole, so one pod that does not fit its type
//! fails it for all pods. [`Lenient<Pod>`] accepts every JSON object and holds a pod or the
//! decoding error; [`Raw`] holds the JSON itself. Neither fails on any object, whatever is in its
//! metadata, spec or status.
//!
//! The callers decide what to do about an unreadable object, and report each version of it once
//! ([`Reported`]). [`request`] sends requests on paths instead of types, and [`events`] writes
//! events.

pub mod events;
mod lenient;
mod raw;
mod reported;
pub mod request;

pub use lenient::{Lenient, UNREADABLE, Unreadable};
pub use raw::Raw;
pub use reported::Reported;
