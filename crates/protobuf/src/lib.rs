//! Kubernetes' protobuf form of objects: JSON values to and from it.
//!
//! [`decode`] reads a request's body, [`encode`] writes an object, and [`List`], [`encode_partial`]
//! and [`watch_frame`] write the other responses. All are driven by one table of messages, which is
//! generated from Kubernetes' published definitions for every schema of the machinery. Bytes are
//! those that Go writes, and JSON is what Go's encoder would make of the same object: zero is left
//! out where Go leaves it out.
//!
//! Custom resources have no protobuf form, only their metadata has.
//!
//! ```
//! use mxjob_protobuf::{decode, encode};
//! use serde_json::json;
//!
//! let lease = json!({
//!     "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
//!     "metadata": {"name": "a"}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 15},
//! });
//! let bytes = encode(&lease).ok_or("a Lease has no message")?;
//! assert_eq!(decode(&bytes, ("coordination.k8s.io/v1", "Lease"), 1_000)?, lease);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod envelope;
mod int_or_string;
mod table;
mod time;
pub mod wire;

pub use envelope::{List, decode, encode, encode_partial, is_known, watch_frame};

/// The media type of enveloped objects.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Why bytes are no object. The first messages are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing.
    #[error("empty data")]
    Empty,
    /// The envelope is missing.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    /// Nothing follows the prefix.
    #[error("empty body")]
    EmptyBody,
    /// The bytes end within a field.
    #[error("unexpected EOF")]
    End,
    /// A number has more than 64 bits.
    #[error("proto: integer overflow")]
    Number,
    /// A field has number 0, or a type of the wire that does not exist.
    #[error("proto: illegal tag")]
    Tag,
    /// A field has another type on the wire than in its message.
    #[error("proto: wrong wireType")]
    WireType,
    /// A time is outside of the years that can be written.
    #[error("proto: a time is out of range")]
    Time,
    /// A field that contains JSON contains something else.
    #[error("proto: a field does not contain JSON: {0}")]
    Json(String),
    /// Messages contain each other too deep.
    #[error("proto: messages are nested too deep")]
    Depth,
    /// The object would be larger than allowed.
    #[error("the object is larger than {0} bytes in JSON")]
    TooLarge(usize),
    /// The envelope names a kind that has no message.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    Kind {
        /// `apiVersion` in the envelope.
        api_version: String,
        /// `kind` in the envelope.
        kind: String,
    },
}
