//! What surrounds messages: the envelope that names their kind, lists, and frames of watches.
//!
//! The numbers here are those of `runtime.Unknown`, `runtime.TypeMeta`, `runtime.RawExtension`,
//! `meta.v1.WatchEvent`, `meta.v1.PartialObjectMetadata` and of every list of a kind. A test
//! compares them with the published definitions.

use serde_json::{Map, Value};

use crate::Error;
use crate::decode::Decoder;
use crate::encode::put_message;
use crate::table::{Message, Table};
use crate::wire::{Reader, put_bytes, put_nested};

/// The first bytes of an enveloped object.
const PREFIX: &[u8] = b"k8s\0";

/// Whether objects of a kind have a protobuf form.
#[must_use]
pub fn is_known(api_version: &str, kind: &str) -> bool {
    Table::get().kind(api_version, kind).is_some()
}

/// Decodes an enveloped object. `expected` is the `apiVersion` and the `kind` of an object that
/// does not say its own, and `limit` its largest size as JSON, in bytes.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8], expected: (&str, &str), limit: usize) -> Result<Value, Error> {
    let content = match bytes.strip_prefix(PREFIX) {
        Some([]) => return Err(Error::EmptyBody),
        Some(content) => content,
        None if bytes.is_empty() => return Err(Error::Empty),
        None => return Err(Error::Prefix),
    };
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader(content);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => type_meta(wire.bytes()?, &mut api_version, &mut kind)?,
            2 => raw = wire.bytes()?,
            _ => {}
        }
    }
    if kind.is_empty() {
        expected.1.clone_into(&mut kind);
    }
    if api_version.is_empty() {
        expected.0.clone_into(&mut api_version);
    }
    let Some(message) = Table::get().kind(&api_version, &kind) else {
        return Err(Error::Kind { api_version, kind });
    };
    let mut object = Map::new();
    Decoder::new(limit).message(raw, message, &mut object, 1)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(object.into())
}

fn type_meta(bytes: &[u8], api_version: &mut String, kind: &mut String) -> Result<(), Error> {
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => *api_version = String::from_utf8_lossy(wire.bytes()?).into_owned(),
            2 => *kind = String::from_utf8_lossy(wire.bytes()?).into_owned(),
            _ => {}
        }
    }
    Ok(())
}

/// Encodes an object with its envelope; `None` if its kind has no protobuf form.
#[must_use]
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = Table::get().kind(api_version, kind)?;
    Some(enveloped(api_version, kind, |out| put_message(out, message, object.as_object())))
}

/// Encodes the metadata of an object as `PartialObjectMetadata` of a version of `meta.k8s.io`.
#[must_use]
pub fn encode_partial(object: &Value, api_version: &str) -> Vec<u8> {
    enveloped(api_version, "PartialObjectMetadata", |out| put_metadata(out, object))
}

fn put_metadata(out: &mut Vec<u8>, object: &Value) {
    put_nested(out, 1, |out| {
        put_meta(out, "ObjectMeta", object.get("metadata"));
    });
}

fn put_meta(out: &mut Vec<u8>, name: &str, value: Option<&Value>) {
    if let Some(message) = Table::get().meta(name) {
        put_message(out, message, value.and_then(Value::as_object));
    }
}

fn enveloped(api_version: &str, kind: &str, content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = PREFIX.to_vec();
    put_nested(&mut out, 1, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
    });
    put_nested(&mut out, 2, content);
    // Encoding and type of the content, which Go writes even if they are empty.
    put_bytes(&mut out, 3, &[]);
    put_bytes(&mut out, 4, &[]);
    out
}

/// A list, built object by object.
#[derive(Debug)]
pub struct List {
    /// The message of the items; `None` for their metadata alone.
    item: Option<&'static Message>,
    api_version: String,
    kind: String,
    /// The list's metadata, as a field.
    metadata: Vec<u8>,
    /// The items, each as a field.
    items: Vec<u8>,
}

// === impl List ===

impl List {
    /// A list of objects of a kind; `None` if they have no protobuf form.
    #[must_use]
    pub fn of(api_version: &str, kind: &str, metadata: &Value) -> Option<Self> {
        let item = Table::get().kind(api_version, kind)?;
        Some(Self::new(Some(item), api_version, format!("{kind}List"), metadata))
    }

    /// A `PartialObjectMetadataList` of a version of `meta.k8s.io`.
    #[must_use]
    pub fn of_metadata(api_version: &str, metadata: &Value) -> Self {
        Self::new(None, api_version, "PartialObjectMetadataList".to_owned(), metadata)
    }

    fn new(
        item: Option<&'static Message>,
        api_version: &str,
        kind: String,
        metadata: &Value,
    ) -> Self {
        let mut list = Self {
            item,
            api_version: api_version.to_owned(),
            kind,
            metadata: Vec::new(),
            items: Vec::new(),
        };
        let number = if list.items_come_first() { 2 } else { 1 };
        put_nested(&mut list.metadata, number, |out| put_meta(out, "ListMeta", Some(metadata)));
        list
    }

    /// In one version of one list, metadata and items have their numbers the other way round.
    fn items_come_first(&self) -> bool {
        self.item.is_none() && self.api_version == "meta.k8s.io/v1beta1"
    }

    /// Adds an object.
    pub fn push(&mut self, object: &Value) {
        let number = if self.items_come_first() { 1 } else { 2 };
        put_nested(&mut self.items, number, |out| match self.item {
            Some(message) => put_message(out, message, object.as_object()),
            None => put_metadata(out, object),
        });
    }

    /// The list with its envelope.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let parts = if self.items_come_first() {
            [&self.items, &self.metadata]
        } else {
            [&self.metadata, &self.items]
        };
        enveloped(&self.api_version, &self.kind, |out| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
        })
    }
}

/// A frame of a watch: its length in four bytes, and an event with an enveloped object. The event
/// itself has no envelope.
#[must_use]
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    put_bytes(&mut out, 1, event.as_bytes());
    put_nested(&mut out, 2, |out| put_bytes(out, 1, object));
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out.splice(..4, length.to_be_bytes());
    out
}
