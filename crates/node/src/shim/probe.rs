//! `shim --probe`: tries what the machine permits to the user of the node, in a process that ends.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

use super::{
    child::{self, namespaces::separate},
    intercept::try_interception,
};
use crate::runtime::Permitted;

/// The bit of CAP_SYS_ADMIN in a capability set.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Prints what is permitted.
pub(super) fn main() -> ExitCode {
    let with_users = !has_sys_admin();
    // First: it changes only a child process.
    let interception = try_interception(|| separate(with_users));
    let namespaces = try_namespaces(with_users).map(|()| with_users);
    let permitted = Permitted {
        namespaces: namespaces.map_err(|error| error.to_string()),
        interception: interception.map_err(|error| error.to_string()),
    };
    let written = serde_json::to_vec(&permitted)
        .map_err(io::Error::other)
        .and_then(|text| io::stdout().write_all(&text));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does all that the setup of a container needs.
fn try_namespaces(with_users: bool) -> io::Result<()> {
    separate(with_users)?;
    child::try_mounts()?;
    Ok(rustix::system::sethostname(b"probe")?)
}

fn has_sys_admin() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .is_some_and(|set| set & CAP_SYS_ADMIN != 0)
    })
}
