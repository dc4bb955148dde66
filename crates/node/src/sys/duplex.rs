//! A pipe or terminal that async code reads and writes.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::{Interest, unix::AsyncFd};

/// Bytes per read.
const BLOCK: usize = 16 * 1024;

/// A descriptor that no other process shares, so that it can be made non-blocking. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Duplex(Arc<AsyncFd<OwnedFd>>);

impl Duplex {
    /// Registers a descriptor. Needs a tokio runtime.
    pub(crate) fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` is open as long as it exists and always has the same number. It is
        // moved into the `AsyncFd` and only borrowed afterwards.
        let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
        Ok(Self(Arc::new(registered.map_err(|error| error.into_parts().1)?)))
    }

    /// Reads the next data; `None` at the end. Cancel-safe.
    pub(crate) async fn read(&self) -> io::Result<Option<Bytes>> {
        let mut block = vec![0; BLOCK];
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut block)?));
            match read {
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(read)) => {
                    block.truncate(read);
                    return Ok(Some(block.into()));
                }
                // The error of a terminal whose other end was closed.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Ok(None),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    /// Writes all of `data`.
    pub(crate) async fn write(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), data)?)) {
                Ok(Ok(written)) => data = data.get(written..).unwrap_or_default(),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

impl AsFd for Duplex {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
