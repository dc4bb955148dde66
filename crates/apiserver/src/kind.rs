//! A served kind: what discovery, the router, the verbs and the tables need to know, as one row.
//!
//! What a row cannot say (a default, a rule, a selectable field) is in its [`Strategy`].

use serde_json::Value;

use crate::strategy::Strategy;

/// Verbs of a built-in kind, in the order in which API servers list them.
pub(crate) const BUILT_IN: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of `status` subresources.
pub(crate) const STATUS: &[&str] = &["get", "patch", "update"];

/// A served kind.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version within the group.
    pub version: &'static str,
    /// `kind` of an object.
    pub kind: &'static str,
    /// Resource name in paths.
    pub plural: &'static str,
    /// Singular resource name, as discovery gives it.
    pub singular: &'static str,
    /// Short names that `kubectl` accepts.
    pub short_names: &'static [&'static str],
    /// Categories such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
    /// Subresources.
    pub subresources: &'static [Subresource],
    /// Columns of a Table (upstream's printers, or a custom resource's printer columns).
    pub columns: &'static [Column],
    /// A custom resource: strategic merge patch is refused, an update needs a resource version and type errors
    /// read as the schema's.
    pub custom: bool,
    /// `PUT` to a name that does not exist creates the object.
    pub create_on_update: bool,
    /// `PUT` without a resource version overwrites whatever is there.
    pub unconditional_update: bool,
    /// The rules that a row cannot say.
    pub strategy: &'static dyn Strategy,
}

/// A subresource of a kind.
#[derive(Debug)]
pub struct Subresource {
    /// Name in the path.
    pub name: &'static str,
    /// Group, version and kind of its body where they differ from the parent's.
    pub body: Option<(&'static str, &'static str, &'static str)>,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
}

/// A column of a Table.
#[derive(Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer` or `date`.
    pub kind: &'static str,
    /// What the column shows.
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i64,
    /// How to get the cell.
    pub cell: Cell,
}

/// Where a cell of a Table comes from.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// The first value under a JSON path (the CRD's `additionalPrinterColumns` dialect).
    Path(&'static str),
    /// Computed from the object.
    Computed(fn(&serde_json::Value, jiff::Timestamp) -> serde_json::Value),
}

impl Kind {
    /// `group/version`, or the version alone in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `mxjobs.kubeflow.org`, `pods`: how messages name the resource.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        qualified(self.plural, self.group)
    }

    /// `MXJob.kubeflow.org`, `Pod`: how messages name the kind.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualified(self.kind, self.group)
    }

    /// `MXJobList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Store prefix of all objects of the kind (with a trailing slash).
    #[must_use]
    pub fn prefix(&self) -> String {
        if self.group.is_empty() {
            format!("/registry/{}/", self.plural)
        } else {
            format!("/registry/{}/{}/", self.group, self.plural)
        }
    }

    /// Store key of one object.
    #[must_use]
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{}{namespace}/{name}", self.prefix())
        } else {
            format!("{}{name}", self.prefix())
        }
    }

    /// Path of the collection, of one namespace where one is named.
    #[must_use]
    pub fn collection_path(&self, namespace: &str) -> String {
        let base =
            if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let scope =
            if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        format!("{base}/{}/{scope}{}", self.version, self.plural)
    }

    pub(crate) fn is_resource(&self, group: &str, version: &str, plural: &str) -> bool {
        self.plural == plural && self.group == group && self.version == version
    }

    /// The subresource of that name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// The `Name` column.
pub(crate) const NAME: Column = Column {
    name: "Name",
    kind: "string",
    description: "",
    priority: 0,
    cell: Cell::Path(".metadata.name"),
};

/// The `Age` column.
pub(crate) const AGE: Column = Column {
    name: "Age",
    kind: "date",
    description: "How long ago the object was created.",
    priority: 0,
    cell: Cell::Path(".metadata.creationTimestamp"),
};

/// A column of text computed from the object.
pub(crate) const fn computed(
    name: &'static str,
    priority: i64,
    cell: fn(&Value, jiff::Timestamp) -> Value,
) -> Column {
    Column { name, kind: "string", description: name, priority, cell: Cell::Computed(cell) }
}
