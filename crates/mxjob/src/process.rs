//! What every command does with its own process: the asynchronous runtime, the limit of open files,
//! and paths for a shell.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;

use crate::exit::Failure;

/// Open files for thousands of watches, logs and shims. Not the highest possible limit: pods'
/// processes inherit it, and some programs iterate over all descriptors up to it.
const OPEN_FILES: u64 = 65_536;

/// Runs a command's future to its end. Blocking work that is still running then does not delay the
/// exit.
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    raise_open_files();
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the runtime", &error))?;
    let result = runtime.block_on(Box::pin(command));
    runtime.shutdown_background();
    result
}

/// Raises the soft limit of open files, which is 1,024 in most shells. Without it the program
/// works, with fewer watches and logs.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if current.is_some_and(|current| current < limit) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum });
    }
}

/// The files that this process may open at the same time.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A path, quoted for a shell where necessary.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=~".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        let check = |path: &str, expected: &str| assert_eq!(shell_word(Path::new(path)), expected);
        check("/tmp/a-b_c.d", "/tmp/a-b_c.d");
        check("/tmp/my data", "'/tmp/my data'");
        check("/tmp/it's", r"'/tmp/it'\''s'");
    }
}
