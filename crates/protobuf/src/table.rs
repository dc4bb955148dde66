//! The messages and their fields, generated from Kubernetes' published definitions into
//! `messages.txt` (`cargo xtask codegen`).
//!
//! A line is a message, the name of its schema without `io.k8s.`, and its fields by number. A field
//! is `NUMBER:NAME:TYPE`. Its name is that in JSON; it is empty where JSON has the fields of the
//! message in place of the message. A type is one of [`Type`] or a message, of the same package if
//! it has no dot. Before it, `[]` means a list and `{}` a map with strings as keys; after it, `*`
//! means that the field is absent unless it is set, and `!` that JSON shows zero.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mxjob_machinery::schema::kubernetes;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("messages.txt")));

const META: &str = "apimachinery.pkg.apis.meta.v1.";
const JSON_SCHEMA: &str = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// All messages.
#[derive(Debug, Default)]
pub(crate) struct Table {
    messages: Vec<Message>,
    by_name: BTreeMap<&'static str, usize>,
}

/// The fields of a message by number.
#[derive(Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<Field>);

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// Name in JSON; empty for a message whose fields JSON has in its place.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) of: Type,
    pub(crate) presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    List,
    /// With strings as keys.
    Map,
}

/// What a field says where it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Zero is the same as absent. Go writes it in protobuf and leaves it out of JSON.
    Value,
    /// The same, but JSON shows zero.
    Shown,
    /// Zero is a value like any other, and the field may be absent.
    Pointer,
}

/// The type of a value. Message types are indexes for [`Table::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Flag,
    Int32,
    Int64,
    Double,
    /// Base64 in JSON.
    Bytes,
    Quantity,
    IntOrString,
    /// Whole seconds.
    Time,
    /// Microseconds.
    MicroTime,
    /// JSON of any form.
    Raw,
    /// A message that is a list of strings in JSON.
    Texts,
    /// A JSON schema or a list of them.
    SchemaOrSchemas,
    /// A JSON schema or a flag.
    SchemaOrFlag,
    /// A JSON schema or a list of strings.
    SchemaOrTexts,
    Message(usize),
}

// === impl Table ===

impl Table {
    pub(crate) fn get() -> &'static Self {
        &TABLE
    }

    /// Reads the generated text. A test reads it as well: what does not parse is left out here.
    fn read(text: &'static str) -> Self {
        let by_name: BTreeMap<_, _> = text
            .lines()
            .filter_map(|line| line.split(' ').next())
            .enumerate()
            .map(|(index, name)| (name, index))
            .collect();
        let messages = text.lines().map(|line| {
            let mut parts = line.split(' ');
            let package = parts.next().and_then(|name| name.rsplit_once('.'));
            let package = package.map_or("", |(package, _)| package);
            Message(parts.filter_map(|part| Field::read(part, package, &by_name)).collect())
        });
        Self { messages: messages.collect(), by_name }
    }

    /// The message of a kind. Kinds such as `Status` and `DeleteOptions` are in every group.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<&Message> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let name = kubernetes::name(group, version, kind);
        self.named(name.strip_prefix("io.k8s.")?).or_else(|| self.named(&format!("{META}{kind}")))
    }

    /// A message of `meta.k8s.io`.
    pub(crate) fn meta(&self, name: &str) -> Option<&Message> {
        self.named(&format!("{META}{name}"))
    }

    /// The message of JSON schemas.
    pub(crate) fn json_schema(&self) -> Option<&Message> {
        self.named(JSON_SCHEMA)
    }

    pub(crate) fn message(&self, index: usize) -> &Message {
        const NONE: &Message = &Message(Vec::new());
        self.messages.get(index).unwrap_or(NONE)
    }

    fn named(&self, name: &str) -> Option<&Message> {
        self.by_name.get(name).map(|index| self.message(*index))
    }
}

// === impl Message ===

impl Message {
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        let index = self.0.binary_search_by_key(&number, |field| field.number).ok()?;
        self.0.get(index)
    }
}

// === impl Field ===

impl Field {
    fn read(
        text: &'static str,
        package: &str,
        messages: &BTreeMap<&'static str, usize>,
    ) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (number, name, kind) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let (shape, kind) = if let Some(kind) = kind.strip_prefix("[]") {
            (Shape::List, kind)
        } else if let Some(kind) = kind.strip_prefix("{}") {
            (Shape::Map, kind)
        } else {
            (Shape::One, kind)
        };
        let (presence, kind) = if let Some(kind) = kind.strip_suffix('*') {
            (Presence::Pointer, kind)
        } else if let Some(kind) = kind.strip_suffix('!') {
            (Presence::Shown, kind)
        } else {
            (Presence::Value, kind)
        };
        let message = || match kind.contains('.') {
            true => messages.get(kind),
            false => messages.get(&*format!("{package}.{kind}")),
        };
        let of = match Type::simple(kind) {
            Some(of) => of,
            None => Type::Message(*message()?),
        };
        Some(Self { number, name, shape, of, presence })
    }

    /// Whether the fields of the message stand in JSON in its place.
    pub(crate) fn is_inline(&self) -> bool {
        self.name.is_empty()
    }
}

// === impl Type ===

impl Type {
    fn simple(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::Text,
            "bool" => Self::Flag,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "bytes" => Self::Bytes,
            "quantity" => Self::Quantity,
            "int-or-string" => Self::IntOrString,
            "time" => Self::Time,
            "micro-time" => Self::MicroTime,
            "raw" => Self::Raw,
            "strings" => Self::Texts,
            "schema-or-schemas" => Self::SchemaOrSchemas,
            "schema-or-bool" => Self::SchemaOrFlag,
            "schema-or-strings" => Self::SchemaOrTexts,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_numbers_rise() {
        let text = include_str!("messages.txt");
        let table = Table::read(text);
        assert_eq!(table.by_name.len(), text.lines().count());
        assert!(text.lines().is_sorted());
        for (line, message) in text.lines().zip(&table.messages) {
            assert_eq!(message.0.len(), line.split(' ').count() - 1, "{line}");
            assert!(message.0.is_sorted_by(|a, b| a.number < b.number), "{line}");
        }
    }

    #[test]
    fn kinds_are_found_in_their_groups_and_options_in_all_groups() {
        let table = Table::get();
        for (api_version, kind) in [
            ("v1", "Pod"),
            ("apps/v1", "Deployment"),
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "Status"),
            ("apps/v1", "DeleteOptions"),
            ("meta.k8s.io/v1", "DeleteOptions"),
        ] {
            assert!(table.kind(api_version, kind).is_some(), "{api_version} {kind}");
        }
        for (api_version, kind) in
            [("v2", "Pod"), ("kubeflow.org/v1", "MXJob"), ("", ""), ("a/b/c", "Pod")]
        {
            assert!(table.kind(api_version, kind).is_none(), "{api_version} {kind}");
        }
        assert!(table.json_schema().is_some() && table.meta("ListMeta").is_some());
    }
}
