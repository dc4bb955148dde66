//! Impersonation: the `Impersonate-…` headers, and the right that each of them requires.

use std::collections::BTreeMap;

use http::HeaderMap;
use mxjob_machinery::names::{Namespace, ObjectName};
use mxjob_machinery::percent;

use crate::authz::{Attributes, Verb};
use crate::identity::{
    Identity, SERVICE_ACCOUNT_PREFIX, SYSTEM_ANONYMOUS, SYSTEM_AUTHENTICATED,
    SYSTEM_UNAUTHENTICATED,
};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// The identity that a request wants to act as.
#[derive(Debug, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Reads the headers; `None` if there are none.
    ///
    /// # Errors
    /// A message if the headers name groups, a uid or extra fields, but no user.
    pub fn parse(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let texts = |name: &str| {
            let values = headers.get_all(name).iter();
            values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).map(str::to_owned)
        };
        let first = |name: &str| texts(name).next().unwrap_or_default();
        let (user, uid, groups) = (first(USER), first(UID), texts(GROUP).collect::<Vec<_>>());
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in headers.keys() {
            let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else { continue };
            // Keys with characters that header names cannot have are percent-encoded; a broken
            // escape is kept unchanged.
            let key = percent::decode(key, false)
                .map_or_else(|| key.to_owned(), |key| key.to_ascii_lowercase());
            extra.entry(key).or_default().extend(texts(name.as_str()));
        }
        if !user.is_empty() {
            return Ok(Some(Self { user, uid, groups, extra }));
        }
        if uid.is_empty() && groups.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        Err("the request asks to act in a group, with a uid or with extra fields, without impersonating a user".to_owned())
    }

    /// The rights that `caller` needs, one request each.
    pub fn questions<'a>(&'a self, caller: &'a Identity) -> Vec<Attributes<'a>> {
        let verb = Verb::Other("impersonate");
        let ask = Attributes { version: "v1", ..Attributes::new(caller, verb) };
        let core = |resource, name| Attributes { resource, name: ObjectName::new(name), ..ask };
        let more = |resource, subresource, name| Attributes {
            group: "authentication.k8s.io",
            resource,
            subresource,
            name: ObjectName::new(name),
            ..ask
        };
        let mut questions = vec![match self.service_account() {
            Some((namespace, name)) => {
                Attributes { namespace: Namespace::new(namespace), ..core("serviceaccounts", name) }
            }
            None => core("users", self.user.as_str()),
        }];
        questions.extend(self.groups.iter().map(|group| core("groups", group.as_str())));
        for (key, values) in &self.extra {
            questions.extend(
                values.iter().map(|value| more("userextras", Some(key.as_str()), value.as_str())),
            );
        }
        if !self.uid.is_empty() {
            questions.push(more("uids", None, self.uid.as_str()));
        }
        questions
    }

    /// The identity to act as.
    pub fn identity(self) -> Identity {
        let account = self
            .service_account()
            .map(|(namespace, name)| Identity::service_account(namespace, name, ""));
        let mut groups = self.groups;
        if groups.is_empty() {
            groups.extend(account.iter().flat_map(|account| account.groups.iter().cloned()));
        }
        let everybody = if self.user == SYSTEM_ANONYMOUS {
            SYSTEM_UNAUTHENTICATED
        } else {
            SYSTEM_AUTHENTICATED
        };
        if !groups
            .iter()
            .any(|group| group == SYSTEM_AUTHENTICATED || group == SYSTEM_UNAUTHENTICATED)
        {
            groups.push(everybody.to_owned());
        }
        Identity {
            name: self.user.into(),
            uid: self.uid.into(),
            groups: groups.into(),
            extra: self.extra.into(),
        }
    }

    fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':'))
            .then_some((namespace, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let one = |(name, value): &(&str, &str)| {
            (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        headers.iter().map(one).collect()
    }

    fn parse(headers: &[(&str, &str)]) -> Result<Option<Impersonation>, String> {
        Impersonation::parse(&map(headers))
    }

    #[test]
    fn headers_give_the_identity_and_the_required_rights() {
        let check = |headers: &[(&str, &str)], groups: &[&str], questions: &[&str]| {
            let wish = parse(headers).unwrap().unwrap();
            let caller = Identity::admin();
            let asked: Vec<String> = wish
                .questions(&caller)
                .iter()
                .map(|ask| {
                    let subresource = ask.subresource.unwrap_or_default();
                    let namespace = ask.namespace.map_or("", Namespace::as_str);
                    let name = ask.name.map_or("", ObjectName::as_str);
                    format!("{} {}/{subresource} {namespace} {name}", ask.group, ask.resource)
                })
                .collect();
            assert_eq!(asked, questions);
            assert_eq!(*wish.identity().groups, *groups, "{headers:?}");
        };
        check(&[("Impersonate-User", "ann")], &["system:authenticated"], &[" users/  ann"]);
        check(
            &[
                ("Impersonate-User", "ann"),
                ("Impersonate-Group", "dev"),
                ("Impersonate-Group", "ops"),
                ("Impersonate-Uid", "7"),
            ],
            &["dev", "ops", "system:authenticated"],
            &[" users/  ann", " groups/  dev", " groups/  ops", "authentication.k8s.io uids/  7"],
        );
        check(
            &[("Impersonate-User", "system:serviceaccount:a:bot")],
            &["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"],
            &[" serviceaccounts/ a bot"],
        );
        check(
            &[("Impersonate-User", "system:anonymous")],
            &["system:unauthenticated"],
            &[" users/  system:anonymous"],
        );
        check(
            &[
                ("Impersonate-User", "ann"),
                ("Impersonate-Extra-acme%2eorg%2Fscope", "a"),
                ("impersonate-extra-x", "b"),
            ],
            &["system:authenticated"],
            &[
                " users/  ann",
                "authentication.k8s.io userextras/acme.org/scope  a",
                "authentication.k8s.io userextras/x  b",
            ],
        );
    }

    #[test]
    fn a_group_without_a_user_is_refused_and_no_headers_mean_no_impersonation() {
        assert_eq!(parse(&[("accept", "x")]), Ok(None));
        for (name, value) in
            [("impersonate-group", "dev"), ("impersonate-uid", "7"), ("impersonate-extra-x", "y")]
        {
            assert!(parse(&[(name, value)]).is_err(), "{name}");
        }
    }
}
