//! Terminals of commands.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::{Mode, Uid, fchmod, fchown},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::sys::duplex::Duplex;

/// The user's end of a command's terminal.
#[derive(Debug)]
pub struct Terminal(Duplex);

/// Opens a terminal: our end and the command's, which belongs to its user.
pub(super) fn open(user: Option<u32>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    // By descriptor: a name may mean another terminal in another mount namespace.
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    if let Some(user) = user {
        fchown(&theirs, Some(Uid::from_raw(user)), None)?;
        fchmod(&theirs, Mode::RUSR | Mode::WUSR)?;
    }
    Ok((ours, theirs))
}

// === impl Terminal ===

impl Terminal {
    pub(super) const fn of(ours: Duplex) -> Self {
        Self(ours)
    }

    /// Sets the size. The programs in the terminal get SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        // Fails only for a terminal that was closed.
        let _ = tcsetwinsize(self.0.as_fd(), size);
    }
}
