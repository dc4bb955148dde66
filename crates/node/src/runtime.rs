//! The process runtime: pods as groups of processes on this machine. Knows nothing of the Kubernetes API.
//!
//! A [`Runtime`] owns a state directory. A [`Sandbox`] is one pod there: its folder, address, hosts file and
//! cgroup. [`Sandbox::start`] runs one attempt of one container under a shim and gives back a [`Running`],
//! which [`Sandbox::find`] gives back again after a restart of the agent.

mod error;
mod isolation;
mod running;
mod sandbox;

use std::{
    ffi::OsString,
    fs::{self, File},
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};

pub(crate) use self::isolation::remove_unused;
pub use self::{
    error::Error,
    isolation::{Isolation, IsolationMode},
    running::Running,
    sandbox::{Attempt, Command, Sandbox},
};
use crate::state::{self, PodDir, PodRecord, PodUid};

/// The file in the state directory that an agent holds locked.
pub(crate) const LOCK: &str = "agent.lock";

/// The program that becomes the shim; `--state DIR` is added to its arguments.
#[derive(Debug, Clone)]
pub struct ShimCommand {
    /// An absolute path.
    pub program: PathBuf,
    /// The words before `--state DIR`.
    pub args: Vec<OsString>,
    /// Variables to give to the shim, which otherwise has an empty environment.
    pub env: Vec<(OsString, OsString)>,
    /// The umask of the programs that it starts. That of the agent and the shim keeps their own files private.
    pub umask: u32,
}

/// A state directory in use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state_dir: PathBuf,
    shim: ShimCommand,
    isolation: Isolation,
    boot_id: String,
    /// Held for the life of the runtime: two agents must not run the same pods.
    _lock: File,
}

// === impl ShimCommand ===

impl ShimCommand {
    /// This program itself, called as `<program> shim --state DIR`.
    ///
    /// # Errors
    /// When the path of the running program is not known.
    pub fn current_exe() -> std::io::Result<Self> {
        // The link itself would follow this process; the path names the file, which an upgrade may replace: a new
        // shim for new attempts is what one wants then.
        Ok(Self {
            program: std::env::current_exe()?,
            args: vec!["shim".into()],
            env: Vec::new(),
            umask: state::DEFAULT_UMASK,
        })
    }
}

// === impl Runtime ===

impl Runtime {
    /// Takes a state directory, making it if need be and closing it to other users.
    ///
    /// # Errors
    /// When it cannot be made or another agent has it.
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
        let lock = mxjob_files::open(&state_dir.join(LOCK), true).map_err(prepare)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::InUse { path: state_dir.clone() })?;
        let isolation = Isolation::detect(isolation, &format!("{:08x}", hash_of(&state_dir)));
        let boot_id = state::boot_id();
        let inner = Inner { state_dir, shim, isolation, boot_id, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.inner.state_dir
    }

    /// What keeps pods apart here.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.inner.isolation
    }

    /// Makes (or finds again) the place of a pod. `record.cgroup` is filled in here.
    ///
    /// # Errors
    /// When its folder, hosts file or cgroup cannot be made.
    pub fn prepare(&self, record: PodRecord, hosts: &str) -> Result<Sandbox, Error> {
        Sandbox::prepare(self.clone(), record, hosts)
    }

    /// The pod with this uid, if it was prepared earlier.
    #[must_use]
    pub fn sandbox(&self, uid: &PodUid) -> Option<Sandbox> {
        let record = PodDir::new(&self.inner.state_dir, uid).record()?;
        Some(Sandbox::existing(self.clone(), record))
    }

    /// The pods that were prepared earlier, in this life of the agent or another.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn sandboxes(&self) -> Result<Vec<Sandbox>, Error> {
        let dirs = PodDir::all(&self.inner.state_dir)
            .map_err(|source| Error::Prepare { path: self.inner.state_dir.clone(), source })?;
        Ok(dirs
            .into_iter()
            .filter_map(|dir| Some(Sandbox::existing(self.clone(), dir.record()?)))
            .collect())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Only an empty group can be removed, so this takes nothing from running pods.
        self.isolation.remove_if_unused();
    }
}

/// A number that is the same for the same directory in every run.
pub(crate) fn hash_of(path: &Path) -> u32 {
    // FNV-1a: `DefaultHasher` may change between releases, and processes live longer than a release.
    struct Fnv(u64);
    impl std::hash::Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    path.as_os_str().hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
