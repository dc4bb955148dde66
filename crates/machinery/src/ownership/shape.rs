//! How the maps and lists of a kind are merged: the little of a schema that ownership needs.

/// The merge type of a value.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Not described: maps are granular, lists are replaced as a whole.
    Any,
    /// Replaced as a whole, whatever it is.
    Atomic,
    /// A map with described fields; others are [`Shape::Any`].
    ///
    /// The difference shows in what an applier owns: a described field is owned through what is in
    /// it, while an undescribed one is owned itself, too.
    Struct(&'static [(&'static str, &'static Self)]),
    /// A map that is a struct all the way down: the fields named here are as described, all others
    /// are structs of the same sort, scalars, or lists replaced as a whole. Every field counts as
    /// described.
    Typed(&'static [(&'static str, &'static Self)]),
    /// A map whose entries all have one shape.
    Map(&'static Self),
    /// A list of scalars without order or repetition.
    Set,
    /// A list of objects told apart by the given keys; a key may have a default.
    ListMap {
        /// The names of the keys, with the value that counts where one is missing.
        keys: &'static [(&'static str, Option<&'static str>)],
        /// The shape of the items.
        item: &'static Self,
    },
}

/// `meta/v1.ObjectMeta`.
pub static OBJECT_META: Shape = Shape::Struct(&[
    ("annotations", &Shape::Map(&Shape::Atomic)),
    ("creationTimestamp", &Shape::Atomic),
    ("deletionGracePeriodSeconds", &Shape::Atomic),
    ("deletionTimestamp", &Shape::Atomic),
    ("finalizers", &Shape::Set),
    ("generateName", &Shape::Atomic),
    ("generation", &Shape::Atomic),
    ("labels", &Shape::Map(&Shape::Atomic)),
    ("managedFields", &Shape::Atomic),
    ("name", &Shape::Atomic),
    ("namespace", &Shape::Atomic),
    ("ownerReferences", &Shape::ListMap { keys: &[("uid", None)], item: &Shape::Atomic }),
    ("resourceVersion", &Shape::Atomic),
    ("selfLink", &Shape::Atomic),
    ("uid", &Shape::Atomic),
]);

/// Any object: metadata as described by Kubernetes, `spec` and `status` known by name only.
pub static OBJECT: Shape = Shape::Struct(&[
    ("apiVersion", &Shape::Atomic),
    ("kind", &Shape::Atomic),
    ("metadata", &OBJECT_META),
    ("spec", &Shape::Any),
    ("status", &Shape::Any),
]);

// === impl Shape ===

impl Shape {
    /// The shape of a field or map entry, and whether it is described.
    pub(crate) fn field(&self, name: &str) -> (&'static Self, bool) {
        match self {
            Self::Struct(fields) => match fields.iter().find(|(known, _)| *known == name) {
                Some((_, shape)) => (shape, true),
                None => (&Self::Any, false),
            },
            Self::Typed(fields) => match fields.iter().find(|(known, _)| *known == name) {
                Some((_, shape)) => (shape, true),
                None => (&Self::Typed(&[]), true),
            },
            Self::Map(entry) => (entry, false),
            Self::Any | Self::Atomic | Self::Set | Self::ListMap { .. } => (&Self::Any, false),
        }
    }

    /// The shape of an item of a list that is not replaced as a whole.
    pub(crate) fn item(&self) -> &'static Self {
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
