//! `mxjob up`: a server with controller and node agent, until it is stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use mxjob_apiserver::{Extensions, expiry};
use rustix::fs::Mode;

use crate::config::Config;
use crate::exit::{Code, Failure};
use crate::logging::{self, Level};
use crate::process::shell_word;
use crate::server::{Server, Stopped};
use crate::settings::{self, LogLimitArgs, NodeSettings, RunAsArgs, Settings};
use crate::signals::{Signals, Stop};
use crate::values::{extended_resource, pod_pids_limit, time_to_live, webhook_service};
use crate::{output, process};

/// The flags that `up` and `apiserver` share. A flag that the configuration file may set too has no
/// default in its declaration, which could not be told from a given value.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Data directory [default: ~/.local/share/mxjob]
    #[arg(long, value_name = "DIR", env = "MXJOB_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// Address to listen on; port 0 picks a free port [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Configuration file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File with additional users, one per line: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Log level: error, warn, info, debug, trace, off, or a list such as warn,mxjob_node=debug
    /// [default: info]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    log_level: Option<Level>,
    /// Delete the dependents of deleted objects and the contents of deleted namespaces [default:
    /// true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    garbage_collection: Option<bool>,
    /// How long events are kept after they were last written [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = time_to_live, hide_short_help = true)]
    event_ttl: Option<Duration>,
    /// Address of a service that webhook configurations name; may be repeated
    #[arg(long = "webhook-service", value_name = "NAMESPACE/NAME=HOST:PORT", value_parser = webhook_service, hide_short_help = true)]
    webhook_services: Vec<((String, String), String)>,
}

/// `mxjob up`
#[derive(Debug, Default, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Name of this machine's Node [default: its name of the last time, at first the host name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Default working directory of pods, and base of their relative paths [default: the current
    /// directory]
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Extended resource that pods may request, for example example.com/fpga=2; may be repeated
    #[arg(long = "extended-resource", value_name = "NAME=AMOUNT", value_parser = extended_resource)]
    extended_resources: Vec<(String, i64)>,
    #[command(flatten)]
    user: RunAsArgs,
    #[command(flatten)]
    logs: LogLimitArgs,
    /// Processes and threads that a pod may have, or -1 for any number [default: 32768, or half of
    /// what the machine permits if that is less]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = pod_pids_limit)]
    pod_pids_limit: Option<i64>,
}

/// Serves until SIGTERM or ^C.
pub(crate) fn run(args: UpArgs, umask: Mode) -> Result<(), Failure> {
    serve(args.settings(umask)?)
}

/// Starts a server with these settings and serves until SIGTERM or ^C.
pub(crate) fn serve(settings: Settings) -> Result<(), Failure> {
    logging::start(&settings.log_level)?;
    process::block_on(serve_until_stopped(settings))
}

// === impl ServeArgs ===

impl ServeArgs {
    /// The configuration file; empty if none is given.
    pub(crate) fn config_file(&self) -> Result<Config, Failure> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)
    }

    /// The settings: flags override the configuration file, which overrides defaults.
    pub(crate) fn settings(
        self,
        config: Config,
        node: Option<NodeSettings>,
    ) -> Result<Settings, Failure> {
        Ok(Settings {
            data_dir: settings::data_dir(self.data_dir.or(config.data_dir).as_deref())?,
            listen: self.listen.or(config.listen).unwrap_or(settings::LISTEN),
            token_file: self.token_file.or(config.token_file),
            log_level: logging::level(self.log_level.or(config.log_level), logging::DEFAULT)?,
            garbage_collection: self
                .garbage_collection
                .or(config.garbage_collection)
                .unwrap_or(true),
            event_ttl: self.event_ttl.or(config.event_ttl).unwrap_or(expiry::EVENT_TTL),
            extensions: Extensions {
                webhook_services: self.webhook_services.into_iter().collect(),
                ..Extensions::default()
            },
            node,
        })
    }
}

// === impl UpArgs ===

impl UpArgs {
    fn settings(self, umask: Mode) -> Result<Settings, Failure> {
        let config = self.serve.config_file()?;
        let mut node = NodeSettings::new(
            self.node_name.or_else(|| config.node_name.clone()),
            self.workdir.or_else(|| config.workdir.clone()),
            umask,
        )?;
        node.extended_resources = config.extended_resources.clone();
        node.extended_resources.extend(self.extended_resources);
        node.run_as = self.user.identity(&config)?;
        node.logs = self.logs.limits(&config);
        node.pod_pids_limit = self.pod_pids_limit.or(config.pod_pids_limit);
        self.serve.settings(config, Some(node))
    }
}

async fn serve_until_stopped(settings: Settings) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let mut server = tokio::select! {
        server = Box::pin(Server::start(settings)) => server?,
        _ = signals.next() => return Ok(()),
    };
    announce(&server);
    let (stop, failure) = tokio::select! {
        stop = signals.next() => (Some(stop), None),
        failure = server.failed() => (None, Some(failure)),
    };
    if stop == Some(Stop::Interrupt) {
        output::note("mxjob: stopping; press ^C again to end the server immediately");
    }
    let data_dir = server.settings().data_dir.clone();
    let stopped = tokio::select! {
        stopped = Box::pin(server.stop()) => stopped,
        _ = signals.next() => {
            return Err(Failure {
                code: Code::Interrupted,
                message: "ended without waiting for open requests; pods keep running".to_owned(),
            });
        }
    };
    let remaining = remaining_pods(&stopped, data_dir.path());
    match failure {
        Some(failure) => Err(Failure { message: format!("{failure}; {remaining}"), ..failure }),
        None => {
            output::note(format_args!("mxjob: stopped; {remaining}"));
            Ok(())
        }
    }
}

fn announce(server: &Server) {
    let dir = &server.settings().data_dir;
    output::data(format_args!("mxjob is ready at {}", server.url()));
    output::data(format_args!("\n  export KUBECONFIG={}", shell_word(&dir.kubeconfig())));
    let hint = match server.settings().node {
        Some(_) => "kubectl create -f job.yaml && kubectl get mxjobs --watch",
        None => "kubectl get mxjobs",
    };
    output::data(format_args!("  {hint}\n"));
}

/// How many pods keep running, and the command that stops them.
fn remaining_pods(stopped: &Stopped, dir: &Path) -> String {
    match stopped.pods {
        0 => "no pod is running".to_owned(),
        1 => format!("1 pod keeps running (`mxjob down --data-dir {}` stops it)", shell_word(dir)),
        pods => format!(
            "{pods} pods keep running (`mxjob down --data-dir {}` stops them)",
            shell_word(dir)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_file_and_the_file_overrides_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(
            &path,
            "apiVersion: mxjob/v1\nkind: Config\ndataDir: d\nlisten: 127.0.0.1:1\nnodeName: from-file\ngarbageCollection: false\neventTtl: 15m\n",
        )
        .unwrap();
        let serve = ServeArgs {
            config: Some(path),
            listen: Some(([127, 0, 0, 1], 2).into()),
            ..ServeArgs::default()
        };
        let settings = UpArgs { serve, ..UpArgs::default() }.settings(Mode::empty()).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.data_dir.path(), dir.path().join("d"));
        assert!(!settings.garbage_collection);
        assert_eq!(settings.event_ttl, Duration::from_secs(900));
        let node = settings.node.unwrap();
        assert_eq!(node.name.as_deref(), Some("from-file"));
        assert_eq!(node.workdir, std::env::current_dir().unwrap());
    }

    #[test]
    fn remaining_pods_are_counted() {
        let text = |pods: usize| remaining_pods(&Stopped { pods }, Path::new("/d"));
        assert_eq!(text(0), "no pod is running");
        assert_eq!(text(1), "1 pod keeps running (`mxjob down --data-dir /d` stops it)");
        assert_eq!(text(4), "4 pods keep running (`mxjob down --data-dir /d` stops them)");
    }
}
