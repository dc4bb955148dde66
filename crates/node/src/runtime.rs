//! The process runtime: pods as groups of processes on this machine. It does not know the
//! Kubernetes API.
//!
//! A [`Runtime`] owns a state directory. A [`Sandbox`] is one pod in it: its folder, address, hosts
//! file and cgroup. [`Sandbox::start`] runs one attempt of one container under a shim and returns a
//! [`Running`]; [`Sandbox::find`] returns it again after a restart of the agent. [`stop_all`] stops
//! all pods of a state directory without an agent.

mod error;
mod isolation;
mod lost;
mod running;
mod sandbox;
mod shared;
mod shim_command;
mod stop;

use std::{fs, path::Path, sync::Arc};

use rustix::fs::{FlockOperation, flock};

use self::shared::Shared;
use crate::state::{self, AGENT_LOCK, PodDir, PodRecord, PodUid};

pub(crate) use self::shim_command::Permitted;
pub use self::{
    error::Error,
    isolation::{Isolation, IsolationMode},
    running::Running,
    sandbox::{Attempt, Command, Sandbox},
    shim_command::ShimCommand,
    stop::{StopReport, stop_all, stop_all_after_agent},
};

/// A state directory in use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

impl Runtime {
    /// Locks a state directory. Creates it where it is missing, and closes it to other users.
    ///
    /// # Errors
    /// When it cannot be created, or another agent holds its lock.
    pub fn open(
        state_dir: &Path,
        shim: ShimCommand,
        isolation: IsolationMode,
    ) -> Result<Self, Error> {
        let prepare = |source| Error::Prepare { path: state_dir.to_owned(), source };
        if let Some(parent) = state_dir.parent() {
            fs::create_dir_all(parent).map_err(prepare)?;
        }
        mxjob_files::private_dir(state_dir).map_err(prepare)?;
        let state_dir = fs::canonicalize(state_dir).map_err(prepare)?;
        let lock = mxjob_files::open(&state_dir.join(AGENT_LOCK), true).map_err(prepare)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::InUse { path: state_dir.clone() })?;
        let name = format!("{:08x}", state::dir_hash(&state_dir));
        let isolation = Isolation::detect(isolation, &name, &shim);
        let boot_id = state::boot_id();
        let shared = Shared { state_dir, shim, isolation, boot_id, _lock: lock };
        shared.sweep_cgroups()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The state directory, as an absolute path without links.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.shared.state_dir
    }

    /// How pods are isolated from each other.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.shared.isolation
    }

    /// Creates the sandbox of a pod, or finds it. Sets the cgroups of `record`.
    ///
    /// # Errors
    /// When its folder, hosts file or cgroup cannot be created.
    pub fn prepare(&self, record: PodRecord, hosts: &str) -> Result<Sandbox, Error> {
        Sandbox::prepare(Arc::clone(&self.shared), record, hosts)
    }

    /// The pod with this uid, if it was prepared earlier.
    #[must_use]
    pub fn sandbox(&self, uid: &PodUid) -> Option<Sandbox> {
        let record = PodDir::new(&self.shared.state_dir, uid).record()?;
        Some(Sandbox::existing(Arc::clone(&self.shared), record))
    }

    /// The pods that were prepared earlier, by this agent or an earlier one.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn sandboxes(&self) -> Result<Vec<Sandbox>, Error> {
        let dirs = PodDir::all(&self.shared.state_dir)
            .map_err(|source| Error::Prepare { path: self.shared.state_dir.clone(), source })?;
        Ok(dirs
            .into_iter()
            .filter_map(|dir| Some(Sandbox::existing(Arc::clone(&self.shared), dir.record()?)))
            .collect())
    }
}
