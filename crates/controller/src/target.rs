//! Objects to delete.

/// One object to delete: this one and no later one of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Name of the object.
    pub name: String,
    /// Its uid, the precondition of the deletion.
    pub uid: String,
}
