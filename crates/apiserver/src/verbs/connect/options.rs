//! The query options of a connection: `PodExecOptions`, `PodAttachOptions`,
//! `PodPortForwardOptions`.

use crate::error::ApiError;
use crate::request::Query;

/// Maximum number of ports in one request; each is a connection and two one-byte channel numbers.
const PORTS_MAX: usize = 64;

/// Options of exec and attach.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

// === impl Options ===

impl Options {
    /// Parses and validates them as upstream does.
    pub(super) fn read(query: &Query, what: &str) -> Result<Self, ApiError> {
        let options = Self {
            command: query.all("command").map(str::to_owned).collect(),
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
            tty: query.flag("tty"),
        };
        if !(options.stdin || options.stdout || options.stderr) {
            return Err(ApiError::bad_request(
                "you must specify at least 1 of stdin, stdout, stderr",
            ));
        }
        if what == "exec" && options.command.is_empty() {
            return Err(ApiError::bad_request("you must specify at least 1 command for the pod"));
        }
        Ok(options)
    }
}

/// The ports in the query, for protocols that do not name them later.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>, ApiError> {
    let ports: Result<Vec<u16>, _> = query
        .all("ports")
        .flat_map(|list| list.split(','))
        .map(|port| {
            port.parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| ApiError::bad_request(format!("unable to parse {port:?} as a port")))
        })
        .collect();
    let ports = ports?;
    if ports.len() > PORTS_MAX {
        return Err(ApiError::bad_request(format!(
            "at most {PORTS_MAX} ports are allowed in one request"
        )));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_their_arguments_and_flags_are_parsed() {
        let query = Query::parse("command=sh&command=-c&command=a+b&stdin=true&tty=false");
        let options = Options::read(&query, "exec").unwrap();
        assert_eq!(options.command, ["sh", "-c", "a b"]);
        assert!(options.stdin && !options.stdout && !options.tty);
    }

    #[test]
    fn a_connection_without_streams_or_command_is_refused() {
        assert!(Options::read(&Query::parse("command=sh"), "exec").is_err());
        assert!(Options::read(&Query::parse("stdout=true"), "exec").is_err());
        assert!(Options::read(&Query::parse("stdout=true"), "attach").is_ok());
    }

    #[test]
    fn ports_are_separate_parameters_or_a_list() {
        let check = |query: &str, want: Option<&[u16]>| {
            assert_eq!(ports(&Query::parse(query)).ok().as_deref(), want, "{query}");
        };
        check("ports=80&ports=81,82", Some(&[80, 81, 82]));
        check("", Some(&[]));
        check("ports=0", None);
        check("ports=65536", None);
        check("ports=http", None);
    }
}
