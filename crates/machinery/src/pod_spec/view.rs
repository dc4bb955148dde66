//! A value in a pod with its place, and the rules that the tables of this module are made of.
//!
//! A table names fields in the order in which upstream checks them, each with its rule and with the
//! upstream function that has the rule. What depends on several fields is a function.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::field::{BadValue, Error, Errors, Path};
use crate::schema::{Trail, integer};

/// A rule for texts: the complaints.
pub(super) type TextRule = fn(&str) -> Vec<String>;

/// A rule in code.
pub(super) type Check = for<'v> fn(&View<'v, '_>, &mut Context<'v>);

/// What a field must be.
pub(super) enum Rule {
    /// Not empty.
    Required(&'static str),
    /// A text that keeps to a rule; an empty one is missing.
    Must(TextRule),
    /// A text that keeps to a rule unless it is empty.
    May(TextRule),
    /// A text that keeps to a rule, even if it is empty.
    Text(TextRule),
    /// One of these words, if it is set.
    OneOf(&'static [&'static str]),
    /// A number in a range, if it is set.
    Range(i64, i64, &'static str),
    /// A text that does not leave the folder that it is relative to.
    Descending,
    /// The same for the path of a file in a volume, which is required.
    File,
    /// An object with these fields, if it is set.
    Fields(&'static [Table]),
    /// A list of objects with these fields.
    Each(&'static [Table]),
    /// Code for a field that is set.
    If(Check),
    /// Code that is also for a missing field.
    Check(Check),
}

/// Fields with their rules. The name `""` means the object itself.
pub(super) type Rules = &'static [(&'static str, Rule)];

/// The rules that one upstream function has.
pub(super) struct Table {
    #[cfg_attr(not(test), allow(dead_code))] // for readers, and for the count of the tests
    pub(super) upstream: &'static str,
    rules: Rules,
}

pub(super) const fn of(upstream: &'static str, rules: Rules) -> Table {
    Table { upstream, rules }
}

/// One of several fields of which exactly one must be set.
pub(super) struct Variant {
    pub(super) field: &'static str,
    /// The name in the paths of its errors, and of the error that it is one too many. Upstream
    /// differs from the name of the field in a few places.
    shown: (&'static str, &'static str),
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) upstream: &'static str,
    pub(super) rules: Rules,
}

pub(super) const fn variant(field: &'static str, upstream: &'static str, rules: Rules) -> Variant {
    Variant { field, shown: (field, field), upstream, rules }
}

pub(super) const fn shown(
    field: &'static str,
    shown: (&'static str, &'static str),
    upstream: &'static str,
    rules: Rules,
) -> Variant {
    Variant { field, shown, upstream, rules }
}

/// What the rules know of the rest of the pod, and the errors.
pub(super) struct Context<'v> {
    pub(super) errors: &'v mut Errors,
    pub(super) spec: &'v Value,
    /// The name of the pod; empty in a template.
    pub(super) name: &'v str,
    pub(super) is_pod: bool,
    /// The valid volumes by name.
    pub(super) volumes: HashMap<&'v str, &'v Value>,
    /// The names of resource claims.
    pub(super) claims: BTreeSet<&'v str>,
}

/// A value and where it is.
#[derive(Clone, Copy)]
pub(super) struct View<'v, 't> {
    pub(super) value: &'v Value,
    at: Trail<'t>,
}

// === impl View ===

impl<'v, 't> View<'v, 't> {
    pub(super) fn new(value: &'v Value, path: &'t Path) -> Self {
        Self { value, at: Trail::Start(path) }
    }

    /// A field, null where there is none.
    pub(super) fn get<'s>(&'s self, name: &'s str) -> View<'v, 's> {
        View { value: self.value.get(name).unwrap_or(&Value::Null), at: self.at.child(name) }
    }

    /// A field that is set.
    pub(super) fn given<'s>(&'s self, name: &'s str) -> Option<View<'v, 's>> {
        Some(self.get(name)).filter(|field| !field.value.is_null())
    }

    /// The same value under another name: upstream reports some errors at paths of its own.
    pub(super) fn shown_at<'s>(&self, above: &'s View<'_, '_>, name: &'s str) -> View<'v, 's> {
        View { value: self.value, at: above.at.child(name) }
    }

    /// Another value at the same place.
    pub(super) fn showing(&self, value: &'v Value) -> Self {
        Self { value, at: self.at }
    }

    /// A field of a map whose keys are data.
    pub(super) fn key<'s>(&'s self, key: &'s str) -> View<'v, 's> {
        View { value: self.value.get(key).unwrap_or(&Value::Null), at: self.at.key(key) }
    }

    /// The items of a list.
    pub(super) fn items<'s>(&'s self) -> impl Iterator<Item = View<'v, 's>> + use<'v, 's, 't> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(|(index, value)| View { value, at: self.at.item(index) })
    }

    /// The items of a list that are objects, or null, which counts as an empty one.
    pub(super) fn objects<'s>(&'s self) -> impl Iterator<Item = View<'v, 's>> + use<'v, 's, 't> {
        self.items().filter(|item| item.value.is_object() || item.value.is_null())
    }

    /// The entries of a map.
    pub(super) fn entries<'s>(
        &'s self,
    ) -> impl Iterator<Item = (&'v str, View<'v, 's>)> + use<'v, 's, 't>
    where
        'v: 's,
    {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), View { value, at: self.at.key(key) }))
    }

    /// A text, empty where there is none.
    pub(super) fn str(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn text(&self, name: &str) -> &'v str {
        self.value.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is a text, or missing, which counts as an empty one.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_string() || self.value.is_null()
    }

    pub(super) fn int(&self) -> Option<i64> {
        integer(self.value)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.value.get(name).and_then(Value::as_bool)
    }

    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    pub(super) fn path(&self) -> Path {
        self.at.path()
    }

    // === Reports ===

    pub(super) fn required(&self, detail: &str, context: &mut Context<'_>) {
        context.errors.push_with(|| Error::required(&self.path(), detail));
    }

    /// Shows the value itself.
    pub(super) fn invalid(&self, detail: impl Into<String>, context: &mut Context<'_>) {
        self.invalid_as(self.value, detail, context);
    }

    pub(super) fn invalid_as(
        &self,
        shown: impl Into<BadValue>,
        detail: impl Into<String>,
        context: &mut Context<'_>,
    ) {
        context.errors.push_with(|| Error::invalid(&self.path(), shown, detail));
    }

    pub(super) fn forbidden(&self, detail: &str, context: &mut Context<'_>) {
        context.errors.push_with(|| Error::forbidden(&self.path(), detail));
    }

    pub(super) fn duplicate(&self, shown: &str, context: &mut Context<'_>) {
        context.errors.push_with(|| Error::duplicate(&self.path(), shown));
    }

    pub(super) fn not_found(&self, context: &mut Context<'_>) {
        context.errors.push_with(|| Error::not_found(&self.path(), self.str()));
    }

    pub(super) fn not_supported(&self, words: &[&str], context: &mut Context<'_>) {
        context.errors.push_with(|| Error::not_supported(&self.path(), self.str(), words));
    }

    pub(super) fn too_long(&self, limit: usize, context: &mut Context<'_>) {
        context.errors.push_with(|| Error::too_long(&self.path(), limit));
    }

    // === Rules ===

    /// Reports the complaints of a rule for texts.
    pub(super) fn check_text(&self, rule: TextRule, context: &mut Context<'_>) {
        if self.is_text() {
            for complaint in rule(self.str()) {
                self.invalid_as(self.str(), complaint, context);
            }
        }
    }

    /// A text that is required and keeps to a rule.
    pub(super) fn check_must(&self, rule: TextRule, context: &mut Context<'_>) {
        if self.is_empty() {
            self.required("", context);
        } else {
            self.check_text(rule, context);
        }
    }

    /// `validateLocalDescendingPath`.
    pub(super) fn check_descending(&self, context: &mut Context<'_>) {
        if self.str().starts_with('/') {
            self.invalid("must be a relative path", context);
        }
        self.check_no_back_steps(context);
    }

    /// `validatePathNoBacksteps`.
    pub(super) fn check_no_back_steps(&self, context: &mut Context<'_>) {
        if let Err(detail) = super::no_back_steps(self.str()) {
            self.invalid(detail, context);
        }
    }

    /// `ValidateLocalNonReservedPath`.
    pub(super) fn check_file(&self, context: &mut Context<'_>) {
        self.check_descending(context);
        if self.str().starts_with("..") && !self.str().starts_with("../") {
            self.invalid("must not start with '..'", context);
        }
    }

    /// Checks the fields of an object.
    pub(super) fn check(&self, tables: &'static [Table], context: &mut Context<'v>) {
        tables.iter().for_each(|table| self.check_rules(table.rules, context));
    }

    pub(super) fn check_rules(&self, rules: Rules, context: &mut Context<'v>) {
        for (field, rule) in rules {
            if field.is_empty() {
                self.apply(rule, context);
            } else {
                self.get(field).apply(rule, context);
            }
        }
    }

    fn apply(&self, rule: &Rule, context: &mut Context<'v>) {
        match rule {
            Rule::Required(detail) if self.is_empty() => self.required(detail, context),
            Rule::Must(rule) => self.check_must(*rule, context),
            Rule::May(rule) if !self.str().is_empty() => self.check_text(*rule, context),
            Rule::Text(rule) => self.check_text(*rule, context),
            Rule::OneOf(words) => {
                if self.value.as_str().is_some_and(|word| !words.contains(&word)) {
                    self.not_supported(words, context);
                }
            }
            Rule::Range(low, high, detail) => {
                if self.int().is_some_and(|number| !(*low..=*high).contains(&number)) {
                    self.invalid(*detail, context);
                }
            }
            Rule::Descending => self.check_descending(context),
            Rule::File => {
                if self.is_empty() {
                    self.required("", context);
                }
                self.check_file(context);
            }
            Rule::Fields(tables) if !self.value.is_null() => self.check(tables, context),
            Rule::Each(tables) => self.objects().for_each(|item| item.check(tables, context)),
            Rule::If(check) if !self.value.is_null() => check(self, context),
            Rule::Check(check) => check(self, context),
            Rule::Required(_) | Rule::May(_) | Rule::Fields(_) | Rule::If(_) => {}
        }
    }

    /// Checks that exactly one of several fields is set, and that one.
    pub(super) fn check_one_of(
        &self,
        variants: &'static [Variant],
        more: &str,
        none: &str,
        context: &mut Context<'v>,
    ) {
        let mut found = false;
        for variant in variants {
            let (shown, too_many) = variant.shown;
            let Some(field) = self.given(variant.field) else { continue };
            if found {
                field.shown_at(self, too_many).forbidden(more, context);
            } else {
                field.shown_at(self, shown).check_rules(variant.rules, context);
            }
            found = true;
        }
        if !found {
            self.required(none, context);
        }
    }
}

/// Each upstream function of tables, and of the tables below them.
#[cfg(test)]
pub(super) fn upstream(tables: &'static [Table], found: &mut Vec<&'static str>) {
    for table in tables {
        found.push(table.upstream);
        for (_, rule) in table.rules {
            if let Rule::Fields(below) | Rule::Each(below) = rule {
                upstream(below, found);
            }
        }
    }
}
