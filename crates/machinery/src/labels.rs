//! Label selectors (`k8s.io/apimachinery/pkg/labels`): parsing with upstream's grammar and error
//! texts, matching, and printing.

mod lexer;
mod parser;
mod validation;

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use crate::json::{list, text};
use crate::names;

pub use validation::validate_selector;

/// Why a selector cannot be understood; the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// A conjunction of requirements. The empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One requirement on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
}

/// What is required of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key=value`
    Equals(String),
    /// `key!=value`; true where the key is missing.
    NotEquals(String),
    /// `key in (a,b)`
    In(BTreeSet<String>),
    /// `key notin (a,b)`; true where the key is missing.
    NotIn(BTreeSet<String>),
    /// `key>1`
    GreaterThan(i64),
    /// `key<1`
    LessThan(i64),
}

// === impl Selector ===

impl Selector {
    /// Parses the text of a `labelSelector` query parameter.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut requirements = parser::parse(text)?;
        // As upstream, so that equal selectors print alike.
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Reads a LabelSelector object (`matchLabels` and `matchExpressions`); `None` where it is
    /// invalid.
    #[must_use]
    pub fn from_object(object: &Value) -> Option<Self> {
        let labels = object.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let mut parts = labels
            .map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect::<Option<Vec<_>>>()?;
        for expression in list(object, "/matchExpressions") {
            let key = text(expression, "/key");
            let values: Option<Vec<&str>> =
                list(expression, "/values").iter().map(Value::as_str).collect();
            let values = values?.join(",");
            parts.push(match text(expression, "/operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => return None,
            });
        }
        Self::parse(&parts.join(",")).ok()
    }

    /// Whether labels, looked up one at a time, satisfy every requirement.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
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
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

// === impl Requirement ===

impl Requirement {
    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is required of it.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Whether the label with this requirement's key (`None`: not there) satisfies it.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|text| text.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Equals(wanted) => value == Some(wanted),
            Operator::NotEquals(unwanted) => value != Some(unwanted),
            Operator::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            Operator::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
            Operator::GreaterThan(limit) => number().is_some_and(|number| number > *limit),
            Operator::LessThan(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = |values: &BTreeSet<String>| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        };
        match &self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals(value) => write!(f, "{key}={value}"),
            Operator::NotEquals(value) => write!(f, "{key}!={value}"),
            Operator::In(values) => write!(f, "{key} in ({})", list(values)),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Operator::GreaterThan(limit) => write!(f, "{key}>{limit}"),
            Operator::LessThan(limit) => write!(f, "{key}<{limit}"),
        }
    }
}

/// Upstream validates keys with no path, which it prints as `<nil>`.
fn check_key(key: &str) -> Result<(), ParseError> {
    complain("<nil>", key, &names::qualified_name(key))
}

fn check_value(key: &str, index: usize, value: &str) -> Result<(), ParseError> {
    complain(&format!("values[{index}][{key}]"), value, &names::label_value(value))
}

fn complain(path: &str, text: &str, complaints: &[String]) -> Result<(), ParseError> {
    if complaints.is_empty() {
        return Ok(());
    }
    let error =
        crate::field::Error::invalid(&crate::field::Path::new(path), text, complaints.join("; "));
    Err(ParseError(error.to_string()))
}

#[cfg(test)]
mod tests;
