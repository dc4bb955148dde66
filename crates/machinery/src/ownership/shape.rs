//! How the maps and lists of a kind are merged: the little of a schema that ownership needs.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// The name of a field: static for built-in kinds, owned for custom resources.
type Name = Cow<'static, str>;

/// The merge type of a value.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Not described: maps are granular, lists are replaced as a whole.
    Any,
    /// Replaced as a whole, whatever it is.
    Atomic,
    /// A map with described fields; others are [`Shape::Any`].
    ///
    /// The difference shows in what an applier owns: a described field is owned through what is in
    /// it, while an undescribed one is owned itself, too.
    Struct(Vec<(Name, Self)>),
    /// A map that is a struct all the way down: the fields named here are as described, all others
    /// are structs of the same sort, scalars, or lists replaced as a whole. Every field counts as
    /// described.
    Typed(Vec<(Name, Self)>),
    /// A map whose entries all have one shape.
    Map(Box<Self>),
    /// A list of scalars without order or repetition.
    Set,
    /// A list of objects that the given keys identify; a key may have a default.
    ListMap {
        /// The names of the keys, with the value that counts where one is missing.
        keys: Vec<(Name, Option<Name>)>,
        /// The shape of the items.
        item: Box<Self>,
    },
}

/// `meta/v1.ObjectMeta`.
pub static OBJECT_META: LazyLock<Shape> = LazyLock::new(|| {
    Shape::structure([
        ("annotations", Shape::Map(Box::new(Shape::Atomic))),
        ("creationTimestamp", Shape::Atomic),
        ("deletionGracePeriodSeconds", Shape::Atomic),
        ("deletionTimestamp", Shape::Atomic),
        ("finalizers", Shape::Set),
        ("generateName", Shape::Atomic),
        ("generation", Shape::Atomic),
        ("labels", Shape::Map(Box::new(Shape::Atomic))),
        ("managedFields", Shape::Atomic),
        ("name", Shape::Atomic),
        ("namespace", Shape::Atomic),
        ("ownerReferences", Shape::list_map([("uid", None)], Shape::Atomic)),
        ("resourceVersion", Shape::Atomic),
        ("selfLink", Shape::Atomic),
        ("uid", Shape::Atomic),
    ])
});

/// Any object: metadata as described by Kubernetes, `spec` and `status` known by name only.
pub static OBJECT: LazyLock<Arc<Shape>> = LazyLock::new(|| {
    Arc::new(Shape::structure([
        ("apiVersion", Shape::Atomic),
        ("kind", Shape::Atomic),
        ("metadata", OBJECT_META.clone()),
        ("spec", Shape::Any),
        ("status", Shape::Any),
    ]))
});

/// The shape of the fields that a typed map does not name.
static PLAIN: Shape = Shape::Typed(Vec::new());

// === impl Shape ===

impl Shape {
    fn structure<const N: usize>(fields: [(&'static str, Self); N]) -> Self {
        Self::Struct(fields.map(|(name, shape)| (name.into(), shape)).into())
    }

    pub(crate) fn list_map<const N: usize>(
        keys: [(&'static str, Option<&'static str>); N],
        item: Self,
    ) -> Self {
        let keys = keys.map(|(key, default)| (key.into(), default.map(Into::into))).into();
        Self::ListMap { keys, item: Box::new(item) }
    }

    /// The shape of a field or map entry, and whether it is described.
    pub(crate) fn field(&self, name: &str) -> (&Self, bool) {
        match self {
            Self::Struct(fields) => match fields.iter().find(|(known, _)| *known == name) {
                Some((_, shape)) => (shape, true),
                None => (&Self::Any, false),
            },
            Self::Typed(fields) => match fields.iter().find(|(known, _)| *known == name) {
                Some((_, shape)) => (shape, true),
                None => (&PLAIN, true),
            },
            Self::Map(entry) => (entry, false),
            Self::Any | Self::Atomic | Self::Set | Self::ListMap { .. } => (&Self::Any, false),
        }
    }

    /// The field that identifies an item of a list to a strategic merge patch.
    pub(crate) fn merge_key(&self) -> Option<&str> {
        match self {
            Self::ListMap { keys, .. } => keys.first().map(|(key, _)| &**key),
            Self::Any
            | Self::Atomic
            | Self::Struct(_)
            | Self::Typed(_)
            | Self::Map(_)
            | Self::Set => None,
        }
    }

    /// The shape of an item of a list that is not replaced as a whole.
    pub(crate) fn item(&self) -> &Self {
        match self {
            Self::ListMap { item, .. } => item,
            Self::Any
            | Self::Atomic
            | Self::Struct(_)
            | Self::Typed(_)
            | Self::Map(_)
            | Self::Set => &Self::Atomic,
        }
    }
}
