//! The settings of a server, and their defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use mxjob_apiserver::Extensions;
use mxjob_machinery::names;
use mxjob_node::Identity;
use mxjob_node::state::LogLimits;
use rustix::fs::Mode;

use crate::config::Config;
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::logging::Level;
use crate::values::{log_files, log_size, run_as};

/// The default address. Loopback, because anyone who reaches the port needs only a token to run
/// commands on this machine. Not port 6443, so that a local cluster can run on the same machine.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// The settings of a server, with all defaults filled in.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: DataDir,
    pub(crate) listen: SocketAddr,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) log_level: Level,
    pub(crate) garbage_collection: bool,
    pub(crate) event_ttl: Duration,
    pub(crate) extensions: Extensions,
    /// Settings of the node agent; none for the API server without it.
    pub(crate) node: Option<NodeSettings>,
}

/// The settings of the node agent.
#[derive(Debug, Clone)]
pub(crate) struct NodeSettings {
    /// Name of the Node; by default the one that the data directory has.
    pub(crate) name: Option<String>,
    pub(crate) workdir: PathBuf,
    /// The caller's umask, which the processes of pods get.
    pub(crate) umask: Mode,
    /// Extended resources of the node, in addition to those that it detects.
    pub(crate) extended_resources: BTreeMap<String, i64>,
    /// Who runs the replicas that name no user; the caller by default.
    pub(crate) run_as: Option<Identity>,
    /// The limits of the containers' logs.
    pub(crate) logs: LogLimits,
    /// Processes and threads of a pod, -1 for any number; the node's default if it is not given.
    pub(crate) pod_pids_limit: Option<i64>,
}

/// The flags for the limits of the containers' logs, which `up` and `run` share.
#[derive(Debug, Default, Args)]
pub(crate) struct LogLimitArgs {
    /// Size at which the log of a container gets a new file, for example 10Mi [default: 10Mi]
    #[arg(long = "container-log-max-size", value_name = "SIZE", value_parser = log_size, hide_short_help = true)]
    max_size: Option<u64>,
    /// Number of files that a container's log has at most; the oldest is removed [default: 5]
    #[arg(long = "container-log-max-files", value_name = "NUMBER", value_parser = log_files, hide_short_help = true)]
    max_files: Option<u32>,
}

/// The given data directory, or the default one of the user.
pub(crate) fn data_dir(given: Option<&Path>) -> Result<DataDir, Failure> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let default = || {
        let share = variable("XDG_DATA_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")));
        share.map(|share| share.join("mxjob"))
    };
    let path =
        given.map(Path::to_owned).filter(|path| !path.as_os_str().is_empty()).or_else(default);
    DataDir::new(&path.ok_or_else(|| {
        Failure::input("there is no home directory: set a data directory with --data-dir")
    })?)
}

// === impl LogLimitArgs ===

impl LogLimitArgs {
    /// The limits: flags override the configuration file, which overrides defaults.
    pub(crate) fn limits(&self, config: &Config) -> LogLimits {
        let default = LogLimits::default();
        LogLimits {
            max_bytes: self.max_size.or(config.container_log_max_size).unwrap_or(default.max_bytes),
            max_files: self
                .max_files
                .or(config.container_log_max_files)
                .unwrap_or(default.max_files),
        }
    }
}

/// The flag for the user of replicas, which `up` and `run` share.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct RunAsArgs {
    /// User who runs the replicas that name no user, for example alice, 1000 or 1000:1000; only
    /// root can set another one [default: the user who runs mxjob]
    #[arg(long, value_name = "USER[:GROUP]", value_parser = run_as)]
    run_as: Option<Identity>,
}

impl RunAsArgs {
    /// The user of the flag or of the file, if this process can run programs as that user.
    pub(crate) fn identity(&self, config: &Config) -> Result<Option<Identity>, Failure> {
        let own = rustix::process::geteuid();
        match self.run_as.or(config.run_as) {
            Some(identity) if !own.is_root() && identity.user != own.as_raw() => {
                Err(Failure::input("--run-as: only root can run replicas as another user"))
            }
            identity => Ok(identity),
        }
    }
}

// === impl NodeSettings ===

impl NodeSettings {
    /// Checks the given name and working directory. The default of the latter is the current
    /// directory.
    pub(crate) fn new(
        name: Option<String>,
        workdir: Option<PathBuf>,
        umask: Mode,
    ) -> Result<Self, Failure> {
        if let Some(name) = &name
            && let Some(error) = names::dns1123_subdomain(name).first()
        {
            return Err(Failure::input(format!("{name:?} is not a valid node name: {error}")));
        }
        let workdir = workdir.unwrap_or_else(|| PathBuf::from("."));
        let shown = workdir.display().to_string();
        match std::fs::canonicalize(&workdir) {
            Ok(path) if path.is_dir() => {
                let (extended_resources, logs) = (BTreeMap::new(), LogLimits::default());
                Ok(Self {
                    name,
                    workdir: path,
                    umask,
                    extended_resources,
                    run_as: None,
                    logs,
                    pod_pids_limit: None,
                })
            }
            Ok(_) => {
                Err(Failure::input(format!("the working directory {shown} is not a directory")))
            }
            Err(error) => {
                Err(Failure::input(format!("cannot use the working directory {shown}: {error}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_node_name_and_working_directory_are_rejected() {
        let failure =
            NodeSettings::new(Some("My Machine".to_owned()), None, Mode::empty()).unwrap_err();
        assert!(
            failure.message.starts_with("\"My Machine\" is not a valid node name: "),
            "{failure}"
        );
        let failure =
            NodeSettings::new(None, Some("/nowhere/at/all".into()), Mode::empty()).unwrap_err();
        assert!(
            failure.message.starts_with("cannot use the working directory /nowhere/at/all: "),
            "{failure}"
        );
    }
}
