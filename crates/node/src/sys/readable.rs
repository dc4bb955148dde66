//! A descriptor that async code can wait for.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// An owned descriptor, registered with the runtime for reading.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Registers a descriptor. Call within a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open as long as it lives and always gives the same number; it is moved into the
        // `AsyncFd` and never handed out again except borrowed.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(registered.map_err(|error| error.into_parts().1)?))
    }

    /// Waits until it can be read. What was waited for stays true for the next call.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Waits until it can be read, lets `read` take everything there is, and forgets about it.
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
