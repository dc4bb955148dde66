//! What can go wrong in the runtime itself (a program that fails is not an error here).

use std::{io, path::PathBuf};

/// Why the runtime could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory is not usable.
    #[error("cannot use the node's state directory {}", path.display())]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else runs the pods of this directory.
    #[error("another agent runs the pods of {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A pod's folder, hosts file or cgroup could not be made.
    #[error("cannot prepare pod {namespace}/{name}: {what}")]
    Sandbox {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The shim could not be started, or ended before it took the attempt.
    #[error("cannot start the shim of container {container}: {what}")]
    Shim {
        /// The container.
        container: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The record of an end could not be written.
    #[error("cannot write down how container {container} ended")]
    Record {
        /// The container.
        container: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
