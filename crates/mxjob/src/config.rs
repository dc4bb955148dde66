//! The configuration file: the flags of `up` and `apiserver` as YAML.
//!
//! ```yaml
//! apiVersion: mxjob/v1
//! kind: Config
//! dataDir: /var/lib/mxjob
//! listen: 127.0.0.1:7443
//! ```
//!
//! Relative paths in it are relative to the file's directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mxjob_machinery::yaml::{self, Node};
use mxjob_node::Identity;
use serde_json::Value;

use crate::exit::Failure;
use crate::logging::Level;
use crate::objects;
use crate::values::{log_files, log_size, pids_limit, resource_amount, run_as, time_to_live};

const API_VERSION: &str = "mxjob/v1";
const KIND: &str = "Config";
/// The keys, in the order of the help and the reference.
const KEYS: &[&str] = &[
    "dataDir",
    "listen",
    "tokenFile",
    "logLevel",
    "garbageCollection",
    "eventTtl",
    "nodeName",
    "workdir",
    "extendedResources",
    "runAs",
    "containerLogMaxSize",
    "containerLogMaxFiles",
    "podPidsLimit",
];

/// The content of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) log_level: Option<Level>,
    pub(crate) garbage_collection: Option<bool>,
    pub(crate) event_ttl: Option<Duration>,
    pub(crate) node_name: Option<String>,
    pub(crate) workdir: Option<PathBuf>,
    pub(crate) extended_resources: BTreeMap<String, i64>,
    pub(crate) run_as: Option<Identity>,
    pub(crate) container_log_max_size: Option<u64>,
    pub(crate) container_log_max_files: Option<u32>,
    pub(crate) pod_pids_limit: Option<i64>,
}

impl Config {
    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = objects::text(path)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&text, folder).map_err(|(line, message)| {
            let line = line
                .filter(|line| *line > 0)
                .map(|line| format!(", line {line}"))
                .unwrap_or_default();
            Failure::input(format!("{}{line}: {message}", path.display()))
        })
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, (Option<u64>, String)> {
        let mut documents = yaml::documents(text).map_err(|error| (error.line, error.message))?;
        let (Some(node), true) = (documents.pop(), documents.is_empty()) else {
            return Err((
                None,
                format!("expected one document with apiVersion: {API_VERSION} and kind: {KIND}"),
            ));
        };
        let Some(entries) = node.entries() else {
            return Err((Some(node.line), "expected a mapping of keys to values".to_owned()));
        };
        let mut config = Self::default();
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = entries.iter().find(|(key, _)| key.name == name);
            let mismatch = |line| Err((Some(line), format!("{name}: must be {expected}")));
            match found {
                Some((_, value)) if value.value() == expected => {}
                Some((key, _)) => return mismatch(key.line),
                None => return mismatch(node.line),
            }
        }
        for (key, value) in entries {
            config
                .set(&key.name, value, folder)
                .map_err(|message| (Some(key.line), format!("{}: {message}", key.name)))?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &Node, folder: &Path) -> Result<(), String> {
        match key {
            "apiVersion" | "kind" => {}
            "dataDir" => self.data_dir = Some(folder.join(text(value)?)),
            "listen" => {
                let parsed = text(value)?
                    .parse()
                    .map_err(|_| "must be an address and a port, for example 127.0.0.1:7443");
                self.listen = Some(parsed?);
            }
            "tokenFile" => self.token_file = Some(folder.join(text(value)?)),
            "logLevel" => self.log_level = Some(Level::parse(&text(value)?)?),
            "garbageCollection" => {
                self.garbage_collection =
                    Some(value.value().as_bool().ok_or("must be true or false")?);
            }
            "eventTtl" => self.event_ttl = Some(time_to_live(&text(value)?)?),
            "nodeName" => self.node_name = Some(text(value)?),
            "workdir" => self.workdir = Some(folder.join(text(value)?)),
            "extendedResources" => {
                for (name, amount) in
                    value.entries().ok_or("must be a mapping of names to amounts")?
                {
                    let amount = amount.value().as_i64().ok_or("amounts must be whole numbers")?;
                    let (name, amount) = resource_amount(&name.name, amount)?;
                    self.extended_resources.insert(name, amount);
                }
            }
            "runAs" => self.run_as = Some(run_as(&text(value)?)?),
            "containerLogMaxSize" => self.container_log_max_size = Some(log_size(&text(value)?)?),
            "containerLogMaxFiles" => {
                self.container_log_max_files = Some(log_files(&value.value().to_string())?);
            }
            "podPidsLimit" => {
                let limit = value.value().as_i64().ok_or("must be a whole number")?;
                self.pod_pids_limit = Some(pids_limit(limit)?);
            }
            _ => return Err(format!("unknown key; the keys are {}", KEYS.join(", "))),
        }
        Ok(())
    }
}

fn text(node: &Node) -> Result<String, &'static str> {
    match node.value() {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err("must be a string; put it in quotes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let text = format!("apiVersion: mxjob/v1\nkind: Config\n{text}");
        Config::parse(&text, Path::new("/etc/mxjob"))
            .map_err(|(line, message)| format!("{}: {message}", line.unwrap_or_default()))
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            "dataDir: data\nlisten: 127.0.0.1:0\ntokenFile: /a/tokens\nlogLevel: warn\ngarbageCollection: false\neventTtl: 2h\nnodeName: m\nworkdir: .\nextendedResources: {example.com/fpga: 2}\nrunAs: '0:7'\ncontainerLogMaxSize: 1Mi\ncontainerLogMaxFiles: 3\npodPidsLimit: -1\n",
        );
        let expected = Config {
            data_dir: Some("/etc/mxjob/data".into()),
            listen: Some(([127, 0, 0, 1], 0).into()),
            token_file: Some("/a/tokens".into()),
            log_level: Level::parse("warn").ok(),
            garbage_collection: Some(false),
            event_ttl: Some(Duration::from_secs(7200)),
            node_name: Some("m".to_owned()),
            workdir: Some("/etc/mxjob/.".into()),
            extended_resources: [("example.com/fpga".to_owned(), 2)].into(),
            run_as: Some(Identity { user: 0, group: 7 }),
            container_log_max_size: Some(1 << 20),
            container_log_max_files: Some(3),
            pod_pids_limit: Some(-1),
        };
        assert_eq!(config, Ok(expected));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn error_names_line_and_key() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check("dataDir: a\nlisten: here\n", "4: listen: must be an address and a port");
        check("dataDir: 7\n", "3: dataDir: must be a string");
        check("\ngarbageCollection: maybe\n", "4: garbageCollection: must be true or false");
        check("eventTtl: 0s\n", "3: eventTtl: must be at least one second");
        check("podPidsLimit: 0\n", "3: podPidsLimit: must be at least 1, or -1");
        check("logLevel: loud\n", "3: logLevel: expected error, warn");
        check("dataDirectory: a\n", "3: dataDirectory: unknown key; the keys are dataDir, listen,");
        check("nodeName: n\n", "3: nodeName: must be a string; put it in quotes");
        check("listen: [1\n", "3: ");
    }

    #[test]
    fn file_of_another_kind_is_rejected() {
        let check = |text: &str, expected: &str| {
            let (line, message) = Config::parse(text, Path::new("")).unwrap_err();
            assert_eq!(format!("{}: {message}", line.unwrap_or_default()), expected);
        };
        check("apiVersion: mxjob/v2\nkind: Config\n", "1: apiVersion: must be mxjob/v1");
        check("apiVersion: mxjob/v1\n", "1: kind: must be Config");
        check("", "0: expected one document with apiVersion: mxjob/v1 and kind: Config");
        check("- a\n", "1: expected a mapping of keys to values");
    }
}
