//! The encoding below messages: tags, numbers and lengths.

use crate::Error;

/// The value of a field on the wire.
#[derive(Clone, Copy, Debug)]
pub enum Wire<'a> {
    /// A number of any size.
    Number(u64),
    /// 64 bits.
    Fixed64(u64),
    /// A text, bytes or an encoded message.
    Bytes(&'a [u8]),
    /// Types that no message uses: 32 bits, and groups, whose content is skipped.
    Other,
}

/// Reads the fields of a message in their order.
#[derive(Debug)]
pub struct Reader<'a>(pub(crate) &'a [u8]);

// === impl Wire ===

impl<'a> Wire<'a> {
    pub(crate) fn number(self) -> Result<u64, Error> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Fixed64(_) | Self::Bytes(_) | Self::Other => Err(Error::WireType),
        }
    }

    pub(crate) fn fixed64(self) -> Result<u64, Error> {
        match self {
            Self::Fixed64(number) => Ok(number),
            Self::Number(_) | Self::Bytes(_) | Self::Other => Err(Error::WireType),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed64(_) | Self::Other => Err(Error::WireType),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// A reader of one message.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Number and value of the next field; `None` at the end.
    ///
    /// # Errors
    /// When the message is not well formed.
    pub fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        let value = match kind {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Wire::Bytes(self.length_delimited()?),
            3 => {
                self.skip_group()?;
                Wire::Other
            }
            5 => {
                self.array::<4>()?;
                Wire::Other
            }
            _ => return Err(Error::Tag),
        };
        Ok(Some((number, value)))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::Number)
    }

    fn tag(&mut self) -> Result<(u32, u64), Error> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Tag)?;
        if number == 0 { Err(Error::Tag) } else { Ok((number, tag & 7)) }
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], Error> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| Error::End)?;
        let (content, rest) = self.0.split_at_checked(length).ok_or(Error::End)?;
        self.0 = rest;
        Ok(content)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (content, rest) = self.0.split_first_chunk().ok_or(Error::End)?;
        self.0 = rest;
        Ok(*content)
    }

    /// Skips to the end of a group that has begun. Groups may contain groups.
    fn skip_group(&mut self) -> Result<(), Error> {
        let mut open = 1_usize;
        while open > 0 {
            match self.tag()?.1 {
                0 => self.varint().map(|_| ())?,
                1 => self.array::<8>().map(|_| ())?,
                2 => self.length_delimited().map(|_| ())?,
                3 => open += 1,
                4 => open -= 1,
                5 => self.array::<4>().map(|_| ())?,
                _ => return Err(Error::Tag),
            }
        }
        Ok(())
    }
}

/// Appends a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends a field that is a number.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, number);
}

/// Appends a field of 64 bits.
pub(crate) fn put_fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
    put_varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a field that is a text, bytes or an encoded message.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends a field with the content that a function appends.
pub(crate) fn put_nested(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(field) << 3 | 2);
    let start = out.len();
    content(out);
    let mut length = Vec::new();
    put_varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(Reader(&out).varint(), Ok(number));
            out.pop();
            assert_eq!(Reader(&out).varint(), Err(Error::End));
        }
        assert_eq!(Reader(&[0xff; 11]).varint(), Err(Error::Number));
    }

    #[test]
    fn groups_and_unused_types_are_skipped() {
        let group = [0x0b, 0x13, 0x08, 0x01, 0x14, 0x12, 0x01, b'x', 0x0c, 0x18, 0x07];
        let mut reader = Reader(&group);
        assert!(matches!(reader.field(), Ok(Some((1, Wire::Other)))));
        assert!(matches!(reader.field(), Ok(Some((3, Wire::Number(7))))));
        assert!(matches!(reader.field(), Ok(None)));
        for (bytes, error) in [
            (&[0x0b_u8, 0x13][..], Error::End),
            (&[0x0c], Error::Tag),
            (&[0x00, 0x01], Error::Tag),
            (&[0x0f], Error::Tag),
            (&[0x0a, 0x05, 0x01], Error::End),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Error::End),
        ] {
            assert_eq!(Reader(bytes).field().err(), Some(error), "{bytes:x?}");
        }
    }
}
