//! The few system calls that neither `std` nor `rustix` offers safely, each behind a safe function.
//!
//! This is the only module of the workspace that may contain `unsafe`; every block says why it holds.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod duplex;
pub(crate) mod process;
pub(crate) mod readable;
