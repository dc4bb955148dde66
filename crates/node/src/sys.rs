//! Safe functions for the few system calls that neither `std` nor `rustix` offers safely.
//!
//! This is the only module of the workspace that may contain `unsafe`. Every block says why it is
//! sound, and no function relies on its callers for that.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod duplex;
pub(crate) mod mount;
pub(crate) mod process;
pub(crate) mod readable;
pub(crate) mod seccomp;
