//! Why a plan could not be carried out.

/// Why a plan could not be carried out in full. The reconcile is retried.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    #[error("the job changed after it was planned for")]
    Conflict,
    #[error("writing the status")]
    Status(#[source] kube::Error),
    #[error("deleting the finished job")]
    DeleteJob(#[source] kube::Error),
    #[error("creating {object}")]
    Create {
        /// `pod digits-worker-0`.
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("changing {object}")]
    Change {
        /// `PodGroup digits`.
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("creating {object}: it already exists")]
    AlreadyExists {
        /// `pod digits-worker-0`.
        object: String,
    },
    #[error("deleting {object}")]
    Delete {
        /// `pod digits-worker-0`.
        object: String,
        #[source]
        source: kube::Error,
    },
}

impl ReconcileError {
    /// Whether it is normal: another client was faster, or an answer was lost.
    pub(super) fn is_expected(&self) -> bool {
        matches!(self, Self::Conflict | Self::AlreadyExists { .. })
    }
}
