//! Errors of the runtime itself. A program that fails is not an error here.

use std::{io, path::PathBuf};

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory is not usable.
    #[error("cannot use the node's state directory {}", path.display())]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another agent holds the lock of the state directory.
    #[error("another agent uses the node's state directory {}; stop it first", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The folder, hosts file or cgroup of a pod cannot be created or removed.
    #[error("cannot prepare pod {namespace}/{name}: {action}")]
    Sandbox {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        name: String,
        /// The action that failed.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The shim cannot be started, or ended before it took the attempt.
    #[error("cannot start the shim of container {container}: {action}")]
    Shim {
        /// The container.
        container: String,
        /// The action that failed.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The exit record cannot be read or written.
    #[error("cannot record how container {container} ended")]
    Record {
        /// The container.
        container: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}
