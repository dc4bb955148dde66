//! A served kind as one row: names, verbs, columns and conventions.
//!
//! Rules (defaults, validation, selectable fields) are in its [`Strategy`].

use std::borrow::Cow;
use std::sync::Arc;

use mxjob_machinery::names::{Namespace, ObjectName};
use serde_json::Value;

use crate::strategy::{Plain, Strategy};

/// A text of a row: static for a built-in kind, owned for one that a definition adds.
pub type Text = Cow<'static, str>;

/// Verbs of a built-in kind, in the order in which API servers list them.
pub(crate) const BUILT_IN: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of `status` subresources.
pub(crate) const STATUS: &[&str] = &["get", "patch", "update"];
/// Verbs of a custom resource, in the order in which API servers list them.
pub(crate) const CUSTOM: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// The subresources of kinds that have a status and nothing else.
pub(crate) const STATUS_ONLY: &[Subresource] =
    &[Subresource { name: "status", body: None, verbs: STATUS }];

/// A served kind. It is freed when its definition is deleted and no request uses it any more.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: Text,
    /// API version within the group.
    pub version: Text,
    /// `kind` of an object.
    pub kind: Text,
    /// Resource name in paths.
    pub plural: Text,
    /// Singular resource name, as discovery gives it.
    pub singular: Text,
    /// Short names that `kubectl` accepts.
    pub short_names: Vec<Text>,
    /// Categories such as `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
    /// Subresources.
    pub subresources: &'static [Subresource],
    /// Columns of a Table (upstream's printers, or a custom resource's printer columns).
    pub columns: Vec<Column>,
    /// Where handlers of built-in kinds and of custom resources differ.
    pub conventions: Conventions,
    /// A built-in kind that a server may leave out; it can then be defined.
    pub is_optional: bool,
    /// Objects are answered and not stored.
    pub review: Option<Review>,
    /// Objects are measured by nodes when they are read, and not stored.
    pub is_measured: bool,
    /// Nothing acts on objects: a create answers a warning that says so.
    pub is_only_stored: bool,
    /// A delete answers the deleted object instead of a `Status` (upstream's
    /// `ReturnDeletedObject`).
    pub returns_deleted: bool,
    /// `PUT` to a name that does not exist creates the object.
    pub create_on_update: bool,
    /// `PUT` without a resource version overwrites the stored object.
    pub unconditional_update: bool,
    /// The rules.
    pub strategy: Arc<dyn Strategy>,
}

/// The questions that are asked by creating an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    /// The identity of the caller.
    SelfSubject,
    /// The identity of a token's owner.
    Token,
    /// All rights of the caller.
    SelfSubjectRules,
    /// Whether the caller has a right.
    SelfSubjectAccess,
    /// Whether a user has a right in the namespace.
    LocalSubjectAccess,
    /// Whether a user has a right.
    SubjectAccess,
}

/// Where the schema of a kind comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaSource {
    /// Kubernetes' own schemas. Objects are typed: they have merge keys and zero values.
    Kubernetes,
    /// The strategy.
    Strategy,
}

/// Where upstream's handlers of built-in kinds and of custom resources differ.
#[derive(Debug, Clone, Copy)]
pub struct Conventions {
    /// Where the schema comes from.
    pub schema: SchemaSource,
    /// Strategic merge patches are accepted.
    pub strategic_merge: bool,
    /// Bodies must have `apiVersion` and `kind`.
    pub requires_type_meta: bool,
    /// Lists carry `continue` even where it is empty.
    pub always_continue: bool,
    /// `PUT` with a resource version to a name that does not exist is a 404, not a create.
    pub version_means_existing: bool,
    /// `POST` to the path of an object is a create.
    pub create_at_item: bool,
    /// The 404 for an unknown subresource names the object.
    pub missing_subresource_names_object: bool,
    /// Each error in the metadata of an update is reported twice.
    pub repeats_metadata_errors: bool,
    /// Status counts in the generation where it is not a subresource.
    pub status_is_content: bool,
    /// A version that is not served stands for another one of the same kind.
    pub versions_are_equivalent: bool,
    /// OpenAPI documents have the title of custom resources.
    pub custom_openapi_title: bool,
    /// Aggregated discovery spells out group and version of subresources.
    pub explicit_response_kind: bool,
}

// === impl Conventions ===

impl Conventions {
    /// Those of built-in kinds.
    pub const BUILT_IN: Self = Self {
        schema: SchemaSource::Kubernetes,
        strategic_merge: true,
        requires_type_meta: false,
        always_continue: false,
        version_means_existing: false,
        create_at_item: false,
        missing_subresource_names_object: false,
        repeats_metadata_errors: false,
        status_is_content: false,
        versions_are_equivalent: false,
        custom_openapi_title: false,
        explicit_response_kind: false,
    };
    /// Those of custom resources.
    pub const CUSTOM: Self = Self {
        schema: SchemaSource::Strategy,
        strategic_merge: false,
        requires_type_meta: true,
        always_continue: true,
        version_means_existing: true,
        create_at_item: true,
        missing_subresource_names_object: true,
        repeats_metadata_errors: true,
        status_is_content: true,
        versions_are_equivalent: true,
        custom_openapi_title: true,
        explicit_response_kind: true,
    };
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
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: Text,
    /// `string`, `integer` or `date`.
    pub kind: Text,
    /// Description of the column.
    pub description: Text,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i64,
    /// How to get the cell.
    pub cell: Cell,
}

/// Where a cell of a Table comes from.
#[derive(Debug, Clone)]
pub enum Cell {
    /// The first value under a JSON path (the CRD's `additionalPrinterColumns` dialect).
    Path(Text),
    /// Computed from the object.
    Computed(fn(&serde_json::Value, jiff::Timestamp) -> serde_json::Value),
}

// === impl Kind ===

impl Kind {
    /// A namespaced built-in kind in version `v1`, with the usual verbs and no rules. Rows change
    /// what differs by struct update.
    #[must_use]
    pub fn new(
        group: impl Into<Text>,
        kind: impl Into<Text>,
        plural: impl Into<Text>,
        singular: impl Into<Text>,
    ) -> Self {
        Self {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: singular.into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            verbs: BUILT_IN,
            subresources: &[],
            columns: vec![NAME, AGE],
            conventions: Conventions::BUILT_IN,
            is_optional: false,
            review: None,
            is_measured: false,
            is_only_stored: false,
            returns_deleted: false,
            create_on_update: false,
            unconditional_update: true,
            strategy: Arc::new(Plain),
        }
    }

    /// Whether objects have a Go type upstream, with merge keys and zero values.
    pub(crate) fn is_typed(&self) -> bool {
        self.conventions.schema == SchemaSource::Kubernetes
    }

    /// `group/version`, or the version alone in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone().into_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `mxjobs.kubeflow.org`, `pods`: how messages name the resource.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// The warning about a new object on which nothing acts.
    pub(crate) fn storage_warning(&self) -> Option<String> {
        let resource = self.qualified_resource();
        self.is_only_stored.then(|| {
            format!(
                "this server has no controller for {resource}: the object is stored and has no effect"
            )
        })
    }

    /// `MXJob.kubeflow.org`, `Pod`: how messages name the kind.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
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

    /// Store prefix of the objects of one namespace, or of all objects.
    #[must_use]
    pub fn prefix_in(&self, namespace: Option<Namespace<'_>>) -> String {
        let prefix = self.prefix();
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{prefix}{namespace}/"),
            None => prefix,
        }
    }

    /// Store key of one object.
    #[must_use]
    pub fn key(&self, namespace: Option<Namespace<'_>>, name: ObjectName<'_>) -> String {
        format!("{}{name}", self.prefix_in(namespace))
    }

    /// Path of the collection, of one namespace where one is named.
    #[must_use]
    pub fn collection_path(&self, namespace: Option<Namespace<'_>>) -> String {
        let base =
            if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let scope = namespace.map(|it| format!("namespaces/{it}/")).unwrap_or_default();
        format!("{base}/{}/{scope}{}", self.version, self.plural)
    }

    /// Group, version and kind.
    pub(crate) fn gvk(&self) -> (&str, &str, &str) {
        (&self.group, &self.version, &self.kind)
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

// === impl Column ===

impl Column {
    /// A column of a built-in kind.
    pub(crate) const fn new(
        name: &'static str,
        kind: &'static str,
        description: &'static str,
        priority: i64,
        cell: Cell,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed(kind),
            description: Cow::Borrowed(description),
            priority,
            cell,
        }
    }
}

/// The `Name` column.
pub(crate) const NAME: Column =
    Column::new("Name", "string", "", 0, Cell::Path(Cow::Borrowed(".metadata.name")));

/// The `Age` column.
pub(crate) const AGE: Column = Column::new(
    "Age",
    "date",
    "How long ago the object was created.",
    0,
    Cell::Path(Cow::Borrowed(".metadata.creationTimestamp")),
);

/// A column of text computed from the object.
pub(crate) const fn computed(
    name: &'static str,
    priority: i64,
    cell: fn(&Value, jiff::Timestamp) -> Value,
) -> Column {
    Column::new(name, "string", name, priority, Cell::Computed(cell))
}
