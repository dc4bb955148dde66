//! The answers above 499 to bad input that are allowed, because a real API server gives them, too.

/// Status code and what the message must contain.
const KNOWN: &[(u16, &str)] = &[
    // A `resourceVersion` that is not a number, or one on an object to be created.
    (500, "resourceVersion: Invalid value: "),
    (500, "resourceVersion should not be set on objects to be created"),
    // A list at a future revision, and any other read of one.
    (500, "etcdserver: mvcc: required revision is a future revision"),
    (504, "Timeout: Too large resource version: "),
    // The form of a list, requested for another object.
    (500, "content is not a list"),
    // DeleteOptions that are malformed or another kind.
    (500, "couldn't get version/kind; json parse error: "),
    (500, "is registered for version"),
    // An apply of fields with the wrong type.
    (500, "failed to create typed patch object ("),
    // Requests that are forwarded to a node, without a node.
    (503, "no node is connected to this API server"),
];

/// Whether an answer above 499 is in the list.
pub(crate) fn is_known(code: u16, message: &str) -> bool {
    KNOWN.iter().any(|(known, part)| *known == code && message.contains(part))
}
