//! Finds the dynamic loader that an ELF file names.

use anyhow::{Context as _, Result, ensure};

/// Type of the program header that names the loader.
const PT_INTERP: u32 = 3;

/// The loader of a 64-bit little-endian ELF file; none if it is linked statically.
pub(crate) fn interpreter(file: &[u8]) -> Result<Option<String>> {
    ensure!(
        file.starts_with(b"\x7fELF\x02\x01"),
        "the program is not a 64-bit little-endian ELF file"
    );
    let headers = usize::try_from(number(file, 0x20, 8)?)?;
    let size = usize::try_from(number(file, 0x36, 2)?)?;
    let count = usize::try_from(number(file, 0x38, 2)?)?;
    for index in 0..count {
        let header = headers + index * size;
        if number(file, header, 4)? == u64::from(PT_INTERP) {
            let start = usize::try_from(number(file, header + 0x08, 8)?)?;
            let length = usize::try_from(number(file, header + 0x20, 8)?)?;
            let path = file.get(start..).and_then(|rest| rest.get(..length));
            let path = String::from_utf8_lossy(path.context("the program file is truncated")?);
            return Ok(Some(path.trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

/// A little-endian number of this many bytes.
fn number(file: &[u8], at: usize, bytes: usize) -> Result<u64> {
    let found = file.get(at..).and_then(|rest| rest.get(..bytes));
    let found = found.context("the program file is truncated")?;
    Ok(found.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one program header of this type, and a path where it points.
    fn file(kind: u8) -> Vec<u8> {
        let mut file = vec![0; 0x40 + 0x38];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[0x20], file[0x36], file[0x38]) = (0x40, 0x38, 1);
        (file[0x40], file[0x48], file[0x60]) = (kind, 0x78, 7);
        file.extend(b"/lib/ld\0");
        file
    }

    #[test]
    fn the_loader_is_found() {
        assert_eq!(interpreter(&file(3)).unwrap().as_deref(), Some("/lib/ld"));
        assert_eq!(interpreter(&file(1)).unwrap(), None);
        assert!(interpreter(b"#!/bin/sh").is_err());
        assert!(interpreter(&file(3)[..0x50]).is_err());
    }

    #[test]
    fn the_test_program_can_be_read() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(interpreter(&program).is_ok());
    }
}
