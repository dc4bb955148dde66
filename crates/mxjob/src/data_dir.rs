//! The data directory: what is where in it, and its rights.
//!
//! A directory that exists keeps its rights: they are its user's choice. What is in it is private
//! all the same.
//!
//! ```text
//! DIR/server.lock    held by the one server (0600)              DIR/store/   every object (0700)
//! DIR/kubeconfig     there while the server answers (0600)      DIR/pki/     keys and certificates (0700)
//! DIR/admin-token    the administrator's token (0600)           DIR/node/    pods: logs, exit records, volumes (0700)
//! DIR/node-name      the name of the Node (0600)                DIR/volumes/ persistent volumes (0700)
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mxjob_machinery::names::dns1123_subdomain;

use crate::exit::Failure;

/// A data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The directory at a path, which need not exist.
    pub(crate) fn new(path: &Path) -> Result<Self, Failure> {
        // Pods and their shims have other working directories, so the path must hold everywhere.
        let path = std::path::absolute(path)
            .map_err(|error| Failure::doing("cannot use the data directory", &error))?;
        Ok(Self(path))
    }

    /// Creates the directory if it is missing, accessible only to its owner: it contains keys.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        created.map_err(|error| {
            let dir = self.0.display();
            match error.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                    Failure::system(format!("{dir} is not a directory: choose another data directory"))
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Failure::system(format!(
                    "no permission to create the data directory {dir}: choose another one with --data-dir"
                )),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Failure::system(format!("no space is left on the disk of the data directory {dir}: free some"))
                }
                _ => Failure::doing(&format!("cannot create the data directory {dir}"), &error),
            }
        })
    }

    /// Closes to others what is in the directory, whatever an older release or the umask of its
    /// time has left open. What is missing is made so later.
    pub(crate) fn make_private(&self) -> Result<(), Failure> {
        let failed = |path: &Path, error: &io::Error| {
            let path = path.display();
            // Another owner does not help with a link.
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    ": make its owner the user that runs this, or choose another data directory with --data-dir"
                }
                _ => "",
            };
            Failure::system(format!("cannot keep {path} private: {error}{advice}"))
        };
        let parts = [self.store(), self.node(), self.volumes()];
        for dir in parts.into_iter().filter(|dir| dir.symlink_metadata().is_ok()) {
            mxjob_files::private_dir(&dir).map_err(|error| failed(&dir, &error))?;
        }
        for file in [self.lock(), self.0.join(mxjob_access::tokens::ADMIN_TOKEN_FILE)] {
            mxjob_files::make_private(&file).map_err(|error| failed(&file, &error))?;
        }
        Ok(())
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("server.lock")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn node(&self) -> PathBuf {
        self.0.join("node")
    }

    /// The name of the Node: the given one, or the one of the last time, or else the host's.
    /// Keeps it, because the pods of the data directory belong to a Node of this name, whatever
    /// the host is called later.
    pub(crate) fn node_name(&self, given: Option<String>, host: String) -> Result<String, Failure> {
        let path = self.0.join("node-name");
        let failed = |action: &str, error: &io::Error| {
            Failure::doing(&format!("cannot {action} {}", path.display()), error)
        };
        let kept = mxjob_files::read(&path).map_err(|error| failed("read", &error))?;
        let kept = kept.as_deref().map(str::trim);
        if let Some(error) = kept.and_then(|kept| dns1123_subdomain(kept).into_iter().next()) {
            return Err(Failure::system(format!(
                "{} does not have a valid node name: {error}: correct it or remove it",
                path.display()
            )));
        }
        let name = given.or_else(|| kept.map(str::to_owned)).unwrap_or(host);
        if kept != Some(&name) {
            mxjob_files::write(&path, format!("{name}\n").as_bytes())
                .map_err(|error| failed("write", &error))?;
        }
        Ok(name)
    }

    /// The folders of persistent volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Removes the kubeconfig of a stopped server.
    pub(crate) fn remove_kubeconfig(&self) -> Result<(), Failure> {
        match fs::remove_file(self.kubeconfig()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::doing(
                &format!("cannot remove the old {}", self.kubeconfig().display()),
                &error,
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_keeps_its_name_when_the_host_gets_another() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::new(folder.path()).unwrap();
        let name = |given: Option<&str>, host: &str| {
            dir.node_name(given.map(str::to_owned), host.to_owned()).map_err(|error| error.message)
        };
        assert_eq!(name(None, "old").unwrap(), "old");
        assert_eq!(name(None, "new").unwrap(), "old");
        assert_eq!(name(Some("mine"), "new").unwrap(), "mine");
        assert_eq!(name(None, "new").unwrap(), "mine");
        fs::write(folder.path().join("node-name"), "no/name").unwrap();
        let message = name(None, "new").unwrap_err();
        assert!(message.contains("does not have a valid node name"), "{message}");
    }
}
