//! The strategy of a custom resource: the schema and rules of one version of its definition.

use std::sync::Arc;

use mxjob_machinery::field;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::ownership::{OBJECT, Shape};
use mxjob_machinery::printer::JsonPath;
use mxjob_machinery::schema::{Node, Schema};
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::current::Current;
use super::rules::Rules;
use super::shape;
use crate::document;
use crate::strategy::Strategy;

/// The schema and rules of one version of a definition.
#[derive(Debug)]
pub(super) struct Version {
    root: Node,
    rules: Rules,
    /// The schema as JSON, which only OpenAPI reads again.
    json: String,
    shape: Arc<Shape>,
    api_version: String,
    /// The version in which objects are stored.
    storage: String,
    /// Whether stored objects may have another form: of another version, without a default, or
    /// with a field that an earlier schema had.
    converts: bool,
    /// Stored objects that are known to have this version's form.
    current: Current,
    selectable: Vec<(String, JsonPath)>,
    /// Whether the definition is being deleted, and with it everything that it defines.
    closing: bool,
}

/// The strategy of a row that a definition made.
#[derive(Debug, Default)]
pub(super) struct Custom {
    /// Held for as long as it takes to copy or replace the pointer.
    version: RwLock<Option<Arc<Version>>>,
}

// === impl Version ===

impl Version {
    pub(super) fn read(definition: &Value, version: &Value) -> Self {
        let none = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let schema = version.pointer("/schema/openAPIV3Schema").unwrap_or(&none);
        let group = text(definition, "/spec/group");
        let versions = list(definition, "/spec/versions");
        let storage = versions.iter().find(|version| version["storage"] == true).unwrap_or(version);
        let root = Node::read(schema);
        let selectable = list(version, "/selectableFields").iter().filter_map(|field| {
            let path = text(field, "/jsonPath");
            Some((path.strip_prefix('.')?.to_owned(), JsonPath::parse(path).ok()?))
        });
        Self {
            rules: Rules::read(schema),
            shape: shape::of(&root),
            converts: versions.len() > 1
                || list(definition, "/status/storedVersions").len() > 1
                || !root.takes_anything(),
            current: Current::default(),
            root,
            json: schema.to_string(),
            api_version: format!("{group}/{}", text(version, "/name")),
            storage: format!("{group}/{}", text(storage, "/name")),
            selectable: selectable.collect(),
            closing: document::is_terminating(definition),
        }
    }

    fn check(&self, object: &Value, old: Option<&Value>) -> field::Errors {
        let mut errors = self.schema().check_custom(object, old);
        self.rules.check(object, old, self.schema(), &mut errors);
        errors
    }

    fn schema(&self) -> Schema<'_> {
        Schema::new(&self.root)
    }
}

// === impl Custom ===

impl Custom {
    /// Replaces the schema and the rules.
    pub(super) fn set_version(&self, version: Version) {
        let version = Some(Arc::new(version));
        *self.version.write() = version;
    }

    /// Drops the schema and the rules: the definition is deleted.
    pub(super) fn clear(&self) {
        *self.version.write() = None;
    }

    fn version(&self) -> Option<Arc<Version>> {
        self.version.read().clone()
    }
}

impl Strategy for Custom {
    fn validate(&self, object: &Value) -> field::Errors {
        self.version().map(|version| version.check(object, None)).unwrap_or_default()
    }

    fn revalidate(&self, old: &Value, new: &Value) -> field::Errors {
        self.version().map(|version| version.check(new, Some(old))).unwrap_or_default()
    }

    fn validate_status(&self, old: &Value, new: &Value) -> field::Errors {
        self.revalidate(old, new)
    }

    fn unknown_fields(&self, object: &Value) -> Vec<String> {
        self.version().map(|version| version.schema().unknown_fields(object)).unwrap_or_default()
    }

    fn prune(&self, object: &mut Value) {
        if let Some(version) = self.version() {
            version.schema().prune(object);
            version.schema().drop_nulls(object);
        }
    }

    fn fill(&self, object: &mut Value) {
        if let Some(version) = self.version() {
            version.schema().fill(object);
        }
    }

    fn is_selectable(&self, field: &str) -> bool {
        self.version().is_some_and(|it| it.selectable.iter().any(|(name, _)| name == field))
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let version = self.version()?;
        let (_, path) = version.selectable.iter().find(|(name, _)| name == field)?;
        // The stored object may have been written before its schema had a default.
        let mut object = object.clone();
        version.schema().fill(&mut object);
        Some(match path.first(&object) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        })
    }

    fn converts(&self) -> bool {
        self.version().is_some_and(|version| version.converts)
    }

    fn show_stored(&self, object: &mut Value) {
        let Some(version) = self.version() else { return };
        version.schema().prune(object);
        version.schema().fill(object);
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".to_owned(), version.api_version.as_str().into());
        }
    }

    fn is_shown_as_stored(&self, stored: &[u8]) -> bool {
        self.version().is_some_and(|version| version.current.contains(stored))
    }

    fn note_shown_as_stored(&self, stored: &[u8]) {
        if let Some(version) = self.version() {
            version.current.insert(stored);
        }
    }

    fn to_stored(&self, object: &mut Value) {
        if let (Some(version), Some(object)) = (self.version(), object.as_object_mut()) {
            object.insert("apiVersion".to_owned(), version.storage.as_str().into());
        }
    }

    fn open_api(&self) -> Option<Value> {
        serde_json::from_str(&self.version()?.json).ok()
    }

    fn shape(&self) -> Arc<Shape> {
        let version = self.version();
        Arc::clone(version.as_ref().map_or(&OBJECT, |version| &version.shape))
    }

    fn top_fields(&self) -> Option<Vec<String>> {
        let version = self.version()?;
        let root = &version.root;
        (!root.is_open).then(|| {
            let own = root.fields.keys().map(String::as_str);
            own.chain(["apiVersion", "kind", "metadata"]).map(str::to_owned).collect()
        })
    }

    fn is_closing(&self) -> bool {
        self.version().is_some_and(|version| version.closing)
    }

    fn has_generation(&self) -> bool {
        true
    }
}
