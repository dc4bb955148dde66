//! Copies the two output pipes of the program to the log file.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use crate::{
    clock,
    log::{
        file::LogFile,
        format::{LastLine, Splitter, Stream},
    },
    state::{AttemptDir, LogLimits},
};

/// Bytes per read. A pipe holds 64 KiB by default; the shim should use little memory.
const BUFFER: usize = 16 * 1024;

/// Reads both pipes and writes the log.
#[derive(Debug)]
pub(super) struct Output {
    log: LogFile,
    pipes: Vec<Pipe>,
    buffer: Box<[u8]>,
    records: Vec<u8>,
    last: LastLine,
}

#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    splitter: Splitter,
}

impl Output {
    pub(super) fn open(dir: &AttemptDir, limits: LogLimits) -> io::Result<Self> {
        Ok(Self {
            log: LogFile::open(dir, limits)?,
            pipes: Vec::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            records: Vec::new(),
            last: LastLine::default(),
        })
    }

    /// Takes the reading ends of the pipes.
    pub(super) fn attach(&mut self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        for (fd, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
            self.pipes.push(Pipe { fd, splitter: Splitter::new(stream) });
        }
        Ok(())
    }

    /// Whether all writers have closed the pipes.
    pub(super) const fn ended(&self) -> bool {
        self.pipes.is_empty()
    }

    pub(super) fn poll_fds<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(
            self.pipes.iter().map(|pipe| PollFd::from_borrowed_fd(pipe.fd.as_fd(), PollFlags::IN)),
        );
    }

    /// Reads once from each pipe without blocking. Returns whether there was data.
    pub(super) fn read_once(&mut self) -> bool {
        let now = clock::now();
        let mut any = false;
        let Self { log, pipes, buffer, records, last } = self;
        pipes.retain_mut(|pipe| {
            records.clear();
            let (count, open) = match rustix::io::read(&pipe.fd, &mut **buffer) {
                Ok(0) => (pipe.splitter.finish(now, records, last), false),
                Ok(length) => {
                    any = true;
                    let bytes = buffer.get(..length).unwrap_or_default();
                    (pipe.splitter.push(bytes, now, records, last), true)
                }
                Err(Errno::AGAIN | Errno::INTR) => (0, true),
                Err(_) => (pipe.splitter.finish(now, records, last), false),
            };
            log.append(records, count, now);
            open
        });
        any
    }

    /// Reads all pending data and closes the pipes, even if another process still holds them open.
    pub(super) fn finish(&mut self) {
        while self.read_once() {}
        let now = clock::now();
        for pipe in &mut self.pipes {
            self.records.clear();
            let count = pipe.splitter.finish(now, &mut self.records, &mut self.last);
            self.log.append(&self.records, count, now);
        }
        self.pipes.clear();
    }

    pub(super) fn last_line(&self) -> Option<String> {
        self.last.text()
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.log.dropped()
    }
}
