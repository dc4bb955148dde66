//! The log on stderr, one line per event.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::exit::Failure;

/// The default level of a server.
pub(crate) const DEFAULT: &str = "info";

/// A valid log filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level(String);

impl Level {
    /// Reads `info`, or a filter such as `warn,mxjob_node=debug`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let filter = EnvFilter::builder().parse(text);
        match filter {
            // A single level applies to the crates of mxjob; events of libraries at that level
            // would hide theirs.
            Ok(_) if text.eq_ignore_ascii_case("off") => Ok(Self(text.to_owned())),
            // This module of kube logs every failed request as an error; the caller already reports
            // what it means.
            Ok(_) if is_level(text) => {
                Ok(Self(format!("warn,kube_client::client::builder=off,mxjob={text}")))
            }
            Ok(_) if text.split(',').all(|part| part.contains('=') || is_level(part)) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("expected error, warn, info, debug, trace, off or a list such as warn,mxjob_node=debug"
                .to_owned()),
        }
    }
}

/// `EnvFilter` parses any other word as the name of a crate.
fn is_level(text: &str) -> bool {
    ["error", "warn", "info", "debug", "trace", "off"].contains(&text.to_ascii_lowercase().as_str())
}

/// The given level, or the default.
pub(crate) fn level(given: Option<Level>, default: &str) -> Result<Level, Failure> {
    given.map_or_else(|| Level::parse(default).map_err(Failure::input), Ok)
}

/// Starts logging to stderr. Once per process.
pub(crate) fn start(level: &Level) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse_lossy(&level.0);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        .try_init()
        .map_err(|error| Failure::doing("cannot start the log", &*error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_is_a_word_or_a_filter() {
        for good in ["warn,mxjob_node=debug", "mxjob_store=trace"] {
            assert_eq!(Level::parse(good), Ok(Level(good.to_owned())), "{good}");
        }
        let info = "warn,kube_client::client::builder=off,mxjob=info";
        assert_eq!(Level::parse("info"), Ok(Level(info.to_owned())));
        assert_eq!(Level::parse("OFF"), Ok(Level("OFF".to_owned())));
        for bad in ["", "loud", "warn,loud", "mxjob_node=loud"] {
            assert!(Level::parse(bad).is_err(), "{bad}");
        }
    }
}
