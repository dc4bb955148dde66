//! A finding of the report: one sentence and how much it matters.

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// For information.
    Note,
    /// The job continues, with different behaviour.
    Change,
    /// Unless the user acts before the migration, something is lost, stopped or left unmanaged.
    Danger,
}

/// One fact about a job or its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// One sentence.
    pub text: String,
}

// === impl Weight ===

impl Weight {
    /// The word in reports: `note`, `change` or `danger`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Change => "change",
            Self::Danger => "danger",
        }
    }
}

// === impl Finding ===

impl Finding {
    pub(crate) fn note(text: impl Into<String>) -> Self {
        Self { weight: Weight::Note, text: text.into() }
    }

    pub(crate) fn change(text: impl Into<String>) -> Self {
        Self { weight: Weight::Change, text: text.into() }
    }

    pub(crate) fn danger(text: impl Into<String>) -> Self {
        Self { weight: Weight::Danger, text: text.into() }
    }
}
