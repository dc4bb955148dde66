//! A whole number or a string: which of both, the number, and the string.

use serde_json::Value;

use crate::Error;
use crate::time::int32;
use crate::wire::{Reader, put_bytes, put_number};

const STRING: u64 = 1;

pub(crate) fn read(bytes: &[u8]) -> Result<Value, Error> {
    let (mut kind, mut number, mut text) = (0, 0, &[][..]);
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => kind = value.number()?,
            2 => number = int32(value.number()?),
            3 => text = value.bytes()?,
            _ => {}
        }
    }
    Ok(if kind == STRING { String::from_utf8_lossy(text).into() } else { number.into() })
}

/// Appends the fields; zero for what is neither a number nor a string.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value) {
    let (kind, text) = value.as_str().map_or((0, ""), |text| (STRING, text));
    let number = mxjob_machinery::schema::integer(value).unwrap_or_default();
    put_number(out, 1, kind);
    put_number(out, 2, number.cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_strings_are_told_apart() {
        for value in [json!(0), json!(-1), json!(8080), json!(""), json!("25%"), json!("80")] {
            let mut bytes = Vec::new();
            write(&mut bytes, &value);
            assert_eq!(read(&bytes).unwrap(), value);
        }
        assert_eq!(read(&[]).unwrap(), json!(0));
    }
}
