//! Field selectors (`k8s.io/apimachinery/pkg/fields`): `metadata.name=a,status.phase!=Failed`.
//! Which fields a kind has is not known here; the caller checks [`Selector::requirements`].

use std::fmt;

/// Why a selector cannot be understood; the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// A conjunction of requirements. The empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One field, compared with one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The field's path, such as `metadata.name`.
    pub field: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: String,
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `=` or `==`
    Equals,
    /// `!=`
    NotEquals,
}

// === impl Selector ===

impl Selector {
    /// Parses the text of a `fieldSelector` query parameter.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut terms = split_terms(text);
        // Sorted first as upstream does, which decides what term an error names.
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, operator, value)) = split_term(term) else {
                return Err(ParseError(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            requirements.push(Requirement {
                field: field.to_owned(),
                operator,
                value: unescape(value)?,
            });
        }
        Ok(Self { requirements })
    }

    /// The requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether fields, looked up one at a time, satisfy every requirement; a missing field is
    /// empty text.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let equal = field(&requirement.field).unwrap_or_default() == requirement.value;
            equal == (requirement.operator == Operator::Equals)
        })
    }

    /// The value a field must have, where the selector says so; lets a list of one be a get.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|requirement| {
                requirement.field == field && requirement.operator == Operator::Equals
            })
            .map(|requirement| requirement.value.as_str())
    }
}

impl std::str::FromStr for Selector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { field, operator, value }) in self.requirements.iter().enumerate()
        {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{field}{operator}{}", escape(value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equals => "=",
            Self::NotEquals => "!=",
        })
    }
}

/// Cuts at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(move |c| {
        let separates = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    })
    .collect()
}

/// Cuts at the first operator.
fn split_term(term: &str) -> Option<(&str, Operator, &str)> {
    for (at, _) in term.char_indices() {
        let (field, rest) = term.split_at(at);
        for (sign, operator) in
            [("!=", Operator::NotEquals), ("==", Operator::Equals), ("=", Operator::Equals)]
        {
            if let Some(value) = rest.strip_prefix(sign) {
                return Some((field, operator, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(ParseError(format!(
                        "invalid field selector: invalid escape sequence: {sequence}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(ParseError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: bool) {
        let selector = Selector::parse(text).unwrap();
        let matched = selector.matches(|field| match field {
            "metadata.name" => Some("b".to_owned()),
            "metadata.namespace" => Some("ml".to_owned()),
            _ => None,
        });
        assert_eq!(matched, expected, "{text:?}");
    }

    #[test]
    fn fields_are_compared_with_what_the_selector_says() {
        for (text, expected) in [
            ("", true),
            ("metadata.name=b", true),
            ("metadata.name==b", true),
            ("metadata.name!=b", false),
            ("metadata.name=b,metadata.namespace=ml", true),
            ("metadata.name=b,metadata.name=c", false),
            ("metadata.name=b,", true),
            ("status.phase=", true),
            ("status.phase!=Failed", true),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn a_selector_that_makes_no_sense_is_refused_in_upstreams_words() {
        for (text, message) in [
            (
                "metadata.name",
                "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
            ),
            (
                "metadata.name in (a,b)",
                "invalid selector: 'metadata.name in (a,b)'; can't understand 'b)'",
            ),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
            ("a=x\\", "invalid field selector: invalid escape sequence: \\"),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn an_operator_alone_compares_the_nameless_field_with_nothing() {
        let selector = Selector::parse("=").unwrap();
        let nameless =
            Requirement { field: String::new(), operator: Operator::Equals, value: String::new() };
        assert_eq!(selector.requirements(), [nameless]);
        assert_eq!(Selector::parse("metadata.name=b").unwrap().exact("metadata.name"), Some("b"));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            parts in proptest::collection::vec(("[a-z.]{1,6}", any::<bool>(), "[a-c,=\\\\ é]{0,6}"), 0..4)
        ) {
            let mut requirements: Vec<Requirement> = parts
                .into_iter()
                .map(|(field, equals, value)| Requirement {
                    field,
                    operator: if equals { Operator::Equals } else { Operator::NotEquals },
                    value,
                })
                .collect();
            requirements.sort_unstable();
            let mut parsed = Selector::parse(&Selector { requirements: requirements.clone() }.to_string()).unwrap();
            parsed.requirements.sort_unstable();
            prop_assert_eq!(parsed.requirements, requirements);
        }
    }
}
