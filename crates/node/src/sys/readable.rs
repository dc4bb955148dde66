//! Descriptors that async code can wait for.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// An owned descriptor, registered with the runtime for reading.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Registers a descriptor. Needs a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open as long as it exists and always has the same number. It is
        // moved into the `AsyncFd` and only borrowed afterwards.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(registered.map_err(|error| error.into_parts().1)?))
    }

    /// Waits until the descriptor is readable. It still counts as readable in the next call.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Waits until the descriptor is readable, and calls `read`, which must read all pending data.
    pub(crate) async fn consume(&self, read: impl FnOnce(BorrowedFd<'_>)) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        read(self.as_fd());
        ready.clear_ready();
        Ok(())
    }
}

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
