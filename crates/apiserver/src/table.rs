//! Tables and `PartialObjectMetadata`, which `kubectl get` and metadata-only clients request.

use bytes::Bytes;
use jiff::Timestamp;
use mxjob_machinery::printer;
use serde::Serialize;
use serde_json::Value;

use crate::document;
use crate::kind::{Cell, Column, Kind};
use crate::negotiate::MetaVersion;
use crate::rendering::{IncludeObject, ListMeta, Rendering};

/// The description of every `Name` column.
const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: TableMeta<'a>,
    /// Null in later events of a watch.
    column_definitions: Option<Vec<Definition<'a>>>,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableMeta<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource_version: &'a str,
    #[serde(rename = "continue", skip_serializing_if = "str::is_empty")]
    continue_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_item_count: Option<usize>,
}

#[derive(Serialize)]
struct Definition<'a> {
    name: &'a str,
    r#type: &'a str,
    format: &'a str,
    description: &'a str,
    priority: i64,
}

#[derive(Serialize)]
struct Row<'a> {
    cells: Vec<Value>,
    object: RowObject<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RowObject<'a> {
    Null(()),
    Partial(Partial<'a>),
    Whole(&'a Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partial<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: Metadata<'a>,
}

/// `ObjectMeta` in upstream's order of fields.
#[derive(Serialize)]
struct Metadata<'a>(#[serde(serialize_with = "in_field_order")] &'a Value);

const META_ORDER: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];
const MANAGED_ORDER: &[&str] =
    &["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];

struct Ordered<'a>(&'a Value, &'static [&'static str]);

impl Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.1.iter().filter_map(|key| Some((key, self.0.get(key)?))))
    }
}

fn in_field_order<S: serde::Serializer>(meta: &&Value, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(None)?;
    for key in META_ORDER {
        match meta.get(key) {
            Some(Value::Array(entries)) if *key == "managedFields" => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| Ordered(entry, MANAGED_ORDER)).collect();
                map.serialize_entry(key, &entries)?;
            }
            Some(value) => map.serialize_entry(key, value)?,
            None => {}
        }
    }
    map.end()
}

/// A Table of objects.
pub(crate) fn table(
    kind: &Kind,
    items: &[Bytes],
    meta: &ListMeta,
    version: MetaVersion,
    rendering: &Rendering,
) -> Vec<u8> {
    let objects: Vec<Value> = items.iter().map(|item| document::decode(item)).collect();
    to_vec(&build(kind, &objects, meta, version, rendering, true))
}

/// A Table for one watch event; only the first has the column definitions.
pub(crate) fn event_table(
    kind: &Kind,
    object: &Value,
    version: MetaVersion,
    rendering: &Rendering,
    first: bool,
) -> Vec<u8> {
    let resource_version = document::meta_str(object, "resourceVersion").to_owned();
    let meta = ListMeta { resource_version, ..ListMeta::default() };
    to_vec(&build(kind, std::slice::from_ref(object), &meta, version, rendering, first))
}

fn build<'a>(
    kind: &'a Kind,
    objects: &'a [Value],
    meta: &'a ListMeta,
    version: MetaVersion,
    rendering: &Rendering,
    definitions: bool,
) -> Table<'a> {
    let null = &Value::Null;
    let rows = objects.iter().map(|object| Row {
        cells: kind.columns.iter().map(|column| cell(column, object, rendering.now)).collect(),
        object: match rendering.include {
            IncludeObject::None => RowObject::Null(()),
            IncludeObject::Object => RowObject::Whole(object),
            IncludeObject::Metadata => RowObject::Partial(Partial {
                kind: "PartialObjectMetadata",
                api_version: version.api_version(),
                metadata: Metadata(object.get("metadata").unwrap_or(null)),
            }),
        },
    });
    Table {
        kind: "Table",
        api_version: version.api_version(),
        metadata: TableMeta {
            resource_version: &meta.resource_version,
            continue_token: &meta.continue_token,
            remaining_item_count: meta.remaining,
        },
        column_definitions: if definitions {
            Some(kind.columns.iter().map(definition).collect())
        } else {
            None
        },
        rows: rows.collect(),
    }
}

fn definition(column: &Column) -> Definition<'_> {
    let name = column.name == "Name" && column.priority == 0;
    Definition {
        name: &column.name,
        r#type: &column.kind,
        format: if name { "name" } else { "" },
        description: if name { NAME_DESCRIPTION } else { &column.description },
        priority: column.priority,
    }
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    match &column.cell {
        Cell::Computed(compute) => compute(object, now),
        Cell::Path(path) => {
            let found =
                printer::JsonPath::parse(path).ok().and_then(|path| path.first(object).cloned());
            match found {
                Some(Value::String(time)) if column.kind == "date" => age(&time, now),
                Some(value) => value,
                None => Value::Null,
            }
        }
    }
}

/// The age of a time in `kubectl`'s format; `<unknown>` for an invalid time.
pub(crate) fn age(time: &str, now: Timestamp) -> Value {
    match time.parse::<Timestamp>() {
        Ok(time) => printer::human_duration(now.as_second() - time.as_second()).into(),
        Err(_) => "<unknown>".into(),
    }
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn partial(json: &[u8], version: MetaVersion) -> Vec<u8> {
    partial_of(&document::decode(json), version)
}

/// `PartialObjectMetadata` of a parsed object.
pub(crate) fn partial_of(object: &Value, version: MetaVersion) -> Vec<u8> {
    let meta = object.get("metadata").unwrap_or(&Value::Null);
    to_vec(&Partial {
        kind: "PartialObjectMetadata",
        api_version: version.api_version(),
        metadata: Metadata(meta),
    })
}

/// `PartialObjectMetadataList` of a list.
pub(crate) fn partial_list(items: &[Bytes], meta: &ListMeta, version: MetaVersion) -> Vec<u8> {
    let mut out = format!(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{}\",\"metadata\":",
        version.api_version()
    )
    .into_bytes();
    out.extend_from_slice(&meta.to_json(false));
    out.extend_from_slice(b",\"items\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend(partial(item, version));
    }
    out.extend_from_slice(b"]}");
    out
}

fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
