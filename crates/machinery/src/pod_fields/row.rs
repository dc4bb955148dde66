//! A row of the table of pod fields.

use serde_json::Value;

/// What the process runtime does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It acts on the field as Kubernetes does.
    Honoured,
    /// It accepts the field silently: a run is the same with and without it.
    Harmless,
    /// It accepts the field with a warning: the field has no effect.
    Warned,
    /// It rejects a pod with the field, because the result or the safety of a run would differ.
    Refused,
}

/// A field, or several that are treated alike.
#[derive(Debug)]
pub struct Row {
    /// The place below the spec of a pod, without the indexes of lists. A step `{a,b}` stands for
    /// two places. Rows of `containers` are for `initContainers`, too, unless these have their own.
    pub path: &'static str,
    /// What happens with the values that [`Self::values`] selects.
    pub verdict: Verdict,
    /// The values that the verdict is about. Values that count as missing are never among them.
    pub values: Values,
    /// What happens and what to do instead, in the user's words. Empty for honoured fields.
    pub reason: &'static str,
}

/// The values that a verdict is about.
#[derive(Debug)]
pub enum Values {
    /// All.
    All,
    /// All but these, which are harmless: they ask for what happens anyway.
    Except(&'static [Literal]),
    /// Only these; the others are honoured.
    Only(&'static [Literal]),
}

/// A value in a row.
#[derive(Clone, Copy, Debug)]
pub enum Literal {
    /// A truth value.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A text.
    Word(&'static str),
    /// The value of another field of the same object.
    Sibling(&'static str),
}

pub(super) const fn honoured(path: &'static str, reason: &'static str) -> Row {
    Row { path, verdict: Verdict::Honoured, values: Values::All, reason }
}

pub(super) const fn harmless(path: &'static str, reason: &'static str) -> Row {
    Row { path, verdict: Verdict::Harmless, values: Values::All, reason }
}

pub(super) const fn warned(path: &'static str, reason: &'static str) -> Row {
    Row { path, verdict: Verdict::Warned, values: Values::All, reason }
}

pub(super) const fn refused(path: &'static str, reason: &'static str) -> Row {
    Row { path, verdict: Verdict::Refused, values: Values::All, reason }
}

// === impl Verdict ===

impl Verdict {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Warned, Self::Honoured, Self::Harmless];

    /// The word for it in documentation and output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Harmless => "harmless",
            Self::Warned => "warned",
            Self::Refused => "refused",
        }
    }
}

// === impl Row ===

impl Row {
    /// The same for all values but these.
    pub(super) const fn except(self, values: &'static [Literal]) -> Self {
        Self { values: Values::Except(values), ..self }
    }

    /// The same for these values only.
    pub(super) const fn only(self, values: &'static [Literal]) -> Self {
        Self { values: Values::Only(values), ..self }
    }

    /// Whether the verdict is about this value, a member of `object`.
    pub(super) fn selects(&self, value: &Value, object: &Value) -> bool {
        let is_one = |all: &[Literal]| all.iter().any(|one| one.is(value, object));
        match self.values {
            Values::All => true,
            Values::Except(values) => !is_one(values),
            Values::Only(values) => is_one(values),
        }
    }

    /// The places of the row: each a list of steps.
    pub(super) fn places(&self) -> Vec<Vec<&'static str>> {
        let mut places = vec![Vec::new()];
        for step in steps(self.path) {
            let names = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
            let names: Vec<&str> = match names {
                Some(names) => names.split(',').collect(),
                None => vec![step],
            };
            let longer = |place: &Vec<&'static str>| {
                let with = |name: &&'static str| {
                    let parts = place.iter().copied().chain(name.split('.'));
                    parts.collect::<Vec<_>>()
                };
                names.iter().map(with).collect::<Vec<_>>()
            };
            places = places.iter().flat_map(longer).collect();
        }
        places
    }
}

/// The steps of a path. A dot between braces separates no steps.
fn steps(path: &'static str) -> impl Iterator<Item = &'static str> {
    let mut depth = 0_usize;
    path.split(move |letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == '.' && depth == 0
    })
}

// === impl Literal ===

impl Literal {
    fn is(self, value: &Value, object: &Value) -> bool {
        match self {
            Self::Flag(flag) => value.as_bool() == Some(flag),
            Self::Number(number) => crate::schema::integer(value) == Some(number),
            Self::Word(word) => value.as_str() == Some(word),
            Self::Sibling(name) => object.get(name) == Some(value),
        }
    }
}
