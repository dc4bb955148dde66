//! What a server is started with: flags first, then the configuration file, then defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use mxjob_apiserver::Extensions;
use mxjob_machinery::names;
use rustix::fs::Mode;

use crate::cli::{ApiserverArgs, ServeArgs, UpArgs};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::logging::{self, Level};

/// Loopback, since whoever reaches the port is only a token away from running commands here. Not 6443, so that a local
/// cluster may run beside it.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// A server's settings, all decided.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: DataDir,
    pub(crate) listen: SocketAddr,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) log_level: Level,
    pub(crate) garbage_collection: bool,
    pub(crate) extensions: Extensions,
    /// What runs pods; none for the API server alone.
    pub(crate) node: Option<NodeSettings>,
}

/// The node agent's settings.
#[derive(Debug, Clone)]
pub(crate) struct NodeSettings {
    pub(crate) name: String,
    pub(crate) workdir: PathBuf,
    /// The umask of the pods' processes: that of whoever started this program.
    pub(crate) umask: Mode,
    /// Devices and the like that the node offers, besides those that it finds by itself.
    pub(crate) extended_resources: BTreeMap<String, i64>,
}

// === impl Settings ===

impl Settings {
    /// The settings of `mxjob up`.
    pub(crate) fn for_up(args: UpArgs, umask: Mode) -> Result<Self, Failure> {
        let config = file(&args.serve)?;
        let mut node = NodeSettings::new(
            args.node_name.or_else(|| config.node_name.clone()),
            args.workdir.or_else(|| config.workdir.clone()),
            umask,
        )?;
        node.extended_resources = config.extended_resources.clone();
        node.extended_resources.extend(args.extended_resources);
        Self::new(args.serve, config, Some(node))
    }

    /// The settings of `mxjob apiserver`.
    pub(crate) fn for_apiserver(args: ApiserverArgs) -> Result<Self, Failure> {
        let config = file(&args.serve)?;
        let mut settings = Self::new(args.serve, config, None)?;
        settings.extensions.built_in_mxjobs = args.builtin_mxjobs.unwrap_or(true);
        Ok(settings)
    }

    fn new(flags: ServeArgs, config: Config, node: Option<NodeSettings>) -> Result<Self, Failure> {
        Ok(Self {
            data_dir: data_dir(flags.data_dir.or(config.data_dir).as_deref())?,
            listen: flags.listen.or(config.listen).unwrap_or(LISTEN),
            token_file: flags.token_file.or(config.token_file),
            log_level: level(flags.log_level.or(config.log_level), logging::DEFAULT)?,
            garbage_collection: flags
                .garbage_collection
                .or(config.garbage_collection)
                .unwrap_or(true),
            extensions: Extensions {
                webhook_services: flags.webhook_services.into_iter().collect(),
                ..Extensions::default()
            },
            node,
        })
    }
}

fn file(flags: &ServeArgs) -> Result<Config, Failure> {
    flags.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)
}

/// A log level or its default.
pub(crate) fn level(given: Option<Level>, default: &str) -> Result<Level, Failure> {
    given.map_or_else(|| Level::parse(default).map_err(Failure::input), Ok)
}

/// The data directory asked for, or the user's own.
pub(crate) fn data_dir(asked: Option<&Path>) -> Result<DataDir, Failure> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = || {
        let share = variable("XDG_DATA_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")));
        share.map(|share| share.join("mxjob"))
    };
    let path = asked.map(Path::to_owned).filter(|path| !path.as_os_str().is_empty()).or_else(own);
    DataDir::new(&path.ok_or_else(|| {
        Failure::input("there is no home directory: name a data directory with --data-dir")
    })?)
}

// === impl NodeSettings ===

impl NodeSettings {
    /// A node of this name that runs pods there; this host and the current directory where nothing is said.
    pub(crate) fn new(
        name: Option<String>,
        workdir: Option<PathBuf>,
        umask: Mode,
    ) -> Result<Self, Failure> {
        let name = match name {
            Some(name) => match names::dns1123_subdomain(&name).first() {
                Some(fault) => {
                    return Err(Failure::input(format!(
                        "{name:?} cannot be the name of a node: {fault}"
                    )));
                }
                None => name,
            },
            None => host_name(),
        };
        let workdir = workdir.unwrap_or_else(|| PathBuf::from("."));
        let shown = workdir.display().to_string();
        match std::fs::canonicalize(&workdir) {
            Ok(path) if path.is_dir() => {
                Ok(Self { name, workdir: path, umask, extended_resources: BTreeMap::new() })
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

/// The host's name where it can be an object's name.
fn host_name() -> String {
    let name = mxjob_access::tls::host_name().map(|name| name.to_ascii_lowercase());
    name.filter(|name| names::dns1123_subdomain(name).is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(
            &path,
            "apiVersion: mxjob/v1\nkind: Config\ndataDir: d\nlisten: 127.0.0.1:1\nnodeName: from-file\ngarbageCollection: false\n",
        )
        .unwrap();
        let serve = ServeArgs {
            config: Some(path),
            listen: Some(([127, 0, 0, 1], 2).into()),
            ..ServeArgs::default()
        };
        let settings =
            Settings::for_up(UpArgs { serve, ..UpArgs::default() }, Mode::empty()).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.data_dir.path(), dir.path().join("d"));
        assert!(!settings.garbage_collection);
        let node = settings.node.unwrap();
        assert_eq!(node.name, "from-file");
        assert_eq!(node.workdir, std::env::current_dir().unwrap());
    }

    #[test]
    fn a_name_that_no_node_can_have_is_refused() {
        let failure =
            NodeSettings::new(Some("My Machine".to_owned()), None, Mode::empty()).unwrap_err();
        assert!(
            failure.message.starts_with("\"My Machine\" cannot be the name of a node: "),
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
