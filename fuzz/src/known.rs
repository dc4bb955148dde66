//! The answers above 499 that a real API server gives to bad input too, and that we therefore give: the only place
//! that names them.

/// Status code and what the message must contain.
const KNOWN: &[(u16, &str)] = &[
    // A `resourceVersion` that is no number, or one that is set on an object to be created.
    (500, "resourceVersion: Invalid value: "),
    (500, "resourceVersion should not be set on objects to be created"),
    // An exact list in the future, and any other read there.
    (500, "etcdserver: mvcc: required revision is a future revision"),
    (504, "Timeout: Too large resource version: "),
    // A list form asked of what is no list.
    (500, "content is not a list"),
    // DeleteOptions that are malformed or another kind.
    (500, "couldn't get version/kind; json parse error: "),
    (500, "is registered for version"),
    // An apply of fields with the wrong type.
    (500, "failed to create typed patch object ("),
    // What goes on to a node, while there is none.
    (503, "no node is connected to this API server"),
];

/// Whether an answer above 499 is one of them.
pub(crate) fn is_known(code: u16, message: &str) -> bool {
    KNOWN.iter().any(|(known, part)| *known == code && message.contains(part))
}
