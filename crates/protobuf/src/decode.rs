//! Messages to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mxjob_machinery::json;
use serde_json::{Map, Number, Value};

use crate::Error;
use crate::int_or_string;
use crate::table::{Field, Message, Presence, Shape, Table, Type};
use crate::time::{self, Precision, int32};
use crate::wire::{Reader, Wire};

/// What an object or an entry of a list takes besides its text, counted in bytes. So a body of many
/// empty messages reaches the limit long before it fills the memory.
const OVERHEAD: usize = 32;

/// Decodes one object, up to a size in JSON.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: &'static Table,
    limit: usize,
    used: usize,
}

// === impl Decoder ===

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self { table: Table::get(), limit, used: 0 }
    }

    /// Decodes a message into an object. Fields that the message does not have are skipped, as
    /// every API server skips them. `depth` is that of the object.
    pub(crate) fn message(
        &mut self,
        bytes: &[u8],
        message: &Message,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > json::MAX_DEPTH {
            return Err(Error::Depth);
        }
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            if let Some(field) = message.field(number) {
                self.field(wire, field, into, depth)?;
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        wire: Wire<'_>,
        field: &Field,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        match (field.shape, field.of) {
            (Shape::One, Type::Message(inner)) if field.is_inline() => {
                self.message(wire.bytes()?, self.table.message(inner), into, depth)
            }
            (Shape::One, Type::Message(inner)) => {
                // A message that comes in parts is merged.
                let object = self.container(into, field, || Value::Object(Map::new()))?;
                match object.as_object_mut() {
                    Some(object) => {
                        self.message(wire.bytes()?, self.table.message(inner), object, depth + 1)
                    }
                    None => Ok(()),
                }
            }
            (Shape::One, of) => {
                match self.value(wire, of, depth)? {
                    Some(value) if field.presence != Presence::Value || !is_zero(&value) => {
                        self.charge(field.name.len())?;
                        into.insert(field.name.to_owned(), value);
                    }
                    // Of a field that comes twice the last one counts.
                    Some(_) | None => drop(into.remove(field.name)),
                }
                Ok(())
            }
            (Shape::List, of) => {
                let list = self.container(into, field, || Value::Array(Vec::new()))?;
                match list.as_array_mut() {
                    Some(list) => self.items(wire, of, list, depth + 1),
                    None => Ok(()),
                }
            }
            (Shape::Map, of) => {
                let map = self.container(into, field, || Value::Object(Map::new()))?;
                let (key, value) = self.entry(wire.bytes()?, of, depth + 1)?;
                if let Some(map) = map.as_object_mut() {
                    map.insert(key, value);
                }
                Ok(())
            }
        }
    }

    /// The object or list of a field.
    fn container<'m>(
        &mut self,
        into: &'m mut Map<String, Value>,
        field: &Field,
        empty: fn() -> Value,
    ) -> Result<&'m mut Value, Error> {
        self.charge(field.name.len())?;
        Ok(into.entry(field.name).or_insert_with(empty))
    }

    /// One item of a list, or several numbers in one field.
    fn items(
        &mut self,
        wire: Wire<'_>,
        of: Type,
        list: &mut Vec<Value>,
        depth: usize,
    ) -> Result<(), Error> {
        if let (Wire::Bytes(packed), Type::Flag | Type::Int32 | Type::Int64) = (wire, of) {
            let mut packed = Reader(packed);
            while !packed.0.is_empty() {
                let number = Wire::Number(packed.varint()?);
                list.push(self.item(number, of, depth)?);
            }
            return Ok(());
        }
        list.push(self.item(wire, of, depth)?);
        Ok(())
    }

    /// A value that is an item of a list or the value in a map.
    fn item(&mut self, wire: Wire<'_>, of: Type, depth: usize) -> Result<Value, Error> {
        self.charge(0)?;
        Ok(self.value(wire, of, depth)?.unwrap_or(Value::Null))
    }

    /// Key and value of a map, each of which may be left out if it is empty.
    fn entry(&mut self, bytes: &[u8], of: Type, depth: usize) -> Result<(String, Value), Error> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => key = self.text(wire)?,
                2 => value = Some(self.item(wire, of, depth)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None if of == Type::Flag || of == Type::Int32 || of == Type::Int64 => {
                self.item(Wire::Number(0), of, depth)?
            }
            None => self.item(Wire::Bytes(&[]), of, depth)?,
        };
        Ok((key, value))
    }

    /// A value; `None` for a zero time.
    fn value(&mut self, wire: Wire<'_>, of: Type, depth: usize) -> Result<Option<Value>, Error> {
        Ok(Some(match of {
            Type::Text => self.text(wire)?.into(),
            Type::Flag => (wire.number()? != 0).into(),
            Type::Int32 => int32(wire.number()?).into(),
            Type::Int64 => wire.number()?.cast_signed().into(),
            Type::Double => double(f64::from_bits(wire.fixed64()?)),
            Type::Bytes => {
                let bytes = wire.bytes()?;
                self.charge(bytes.len().div_ceil(3).saturating_mul(4))?;
                STANDARD.encode(bytes).into()
            }
            Type::Quantity => self.only_text(wire.bytes()?)?.into(),
            Type::IntOrString => {
                let bytes = wire.bytes()?;
                self.charge(bytes.len())?;
                int_or_string::read(bytes)?
            }
            Type::Time => {
                return Ok(time::read(wire.bytes()?, Precision::Seconds)?.map(Value::from));
            }
            Type::MicroTime => {
                return Ok(time::read(wire.bytes()?, Precision::Micros)?.map(Value::from));
            }
            Type::Raw => self.raw(wire.bytes()?)?,
            Type::Texts => self.texts(wire.bytes()?, 1)?.into(),
            Type::SchemaOrSchemas | Type::SchemaOrFlag | Type::SchemaOrTexts => {
                self.schema_or(wire.bytes()?, of, depth)?
            }
            Type::Message(inner) => {
                let mut object = Map::new();
                let inner = self.table.message(inner);
                self.message(wire.bytes()?, inner, &mut object, depth + 1)?;
                object.into()
            }
        }))
    }

    /// A text. Broken UTF-8 becomes U+FFFD, as in JSON.
    fn text(&mut self, wire: Wire<'_>) -> Result<String, Error> {
        let bytes = wire.bytes()?;
        self.charge(bytes.len())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text of a message that has nothing else.
    fn only_text(&mut self, bytes: &[u8]) -> Result<String, Error> {
        let mut text = String::new();
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            if number == 1 {
                text = self.text(wire)?;
            }
        }
        Ok(text)
    }

    fn texts(&mut self, bytes: &[u8], field: u32) -> Result<Vec<Value>, Error> {
        let mut texts = Vec::new();
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            if number == field {
                texts.push(self.text(wire)?.into());
            }
        }
        Ok(texts)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<Value, Error> {
        let mut raw = &[][..];
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            if number == 1 {
                raw = wire.bytes()?;
            }
        }
        if raw.is_empty() {
            return Ok(Value::Null);
        }
        self.charge(raw.len())?;
        json::decode(raw).map_err(|error| Error::Json(error.to_string()))
    }

    /// A schema in field 1, or what stands in field 2. The flag, which has the other order, also
    /// says whether there is a schema.
    fn schema_or(&mut self, bytes: &[u8], of: Type, depth: usize) -> Result<Value, Error> {
        let schema_field = if of == Type::SchemaOrFlag { 2 } else { 1 };
        let (mut schema, mut flag, mut list) = (None, false, Vec::new());
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, of) {
                (1, Type::SchemaOrFlag) => flag = wire.number()? != 0,
                (2, Type::SchemaOrSchemas) => list.push(self.schema(wire, depth + 1)?),
                (2, Type::SchemaOrTexts) => list.push(self.text(wire)?.into()),
                (number, _) if number == schema_field => schema = Some(self.schema(wire, depth)?),
                _ => {}
            }
        }
        Ok(match (schema, of) {
            (_, Type::SchemaOrSchemas | Type::SchemaOrTexts) if !list.is_empty() => list.into(),
            (Some(schema), _) => schema,
            (None, Type::SchemaOrFlag) => flag.into(),
            (None, _) => Value::Null,
        })
    }

    fn schema(&mut self, wire: Wire<'_>, depth: usize) -> Result<Value, Error> {
        let mut object = Map::new();
        self.charge(0)?;
        if let Some(schema) = self.table.json_schema() {
            self.message(wire.bytes()?, schema, &mut object, depth + 1)?;
        }
        Ok(object.into())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.used = self.used.saturating_add(bytes).saturating_add(OVERHEAD);
        if self.used > self.limit { Err(Error::TooLarge(self.limit)) } else { Ok(()) }
    }
}

/// Whether a value is what Go has where nothing was set.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Null => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// A number in JSON: whole ones without a fraction, as Go writes them.
fn double(number: f64) -> Value {
    // 2^53: whole numbers up to here have no other representation.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[allow(clippy::cast_possible_truncation)] // whole and within the exact range
        return Value::from(number as i64);
    }
    // Infinity has no form in JSON.
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
