//! Roles and bindings in memory, and the decisions they give. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mxjob_machinery::json::{list, text};
use mxjob_machinery::names::Namespace;
use mxjob_machinery::object;
use serde_json::Value;

use crate::authz::Attributes;
use crate::authz::rules::Rule;
use crate::identity::{Identity, SERVICE_ACCOUNT_PREFIX};

/// Group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// All roles and bindings. Cheap to clone; a clone is a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    cluster_roles: Arc<BTreeMap<String, Arc<[Rule]>>>,
    /// By namespace and name.
    roles: Arc<BTreeMap<NamespacedName, Arc<[Rule]>>>,
    cluster_bindings: Arc<BTreeMap<String, Arc<Binding>>>,
    /// By namespace, then name.
    bindings: Arc<BTreeMap<String, BTreeMap<String, Arc<Binding>>>>,
}

type NamespacedName = (String, String);

/// A binding of a role to subjects.
#[derive(Debug)]
pub struct Binding {
    /// `None` for a cluster-wide one.
    namespace: Option<String>,
    name: String,
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The role that a binding grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// `true` for a `ClusterRole`, `false` for a `Role` in the binding's namespace.
    pub cluster: bool,
    /// Name of the role.
    pub name: String,
}

#[derive(Debug)]
struct Subject {
    kind: SubjectKind,
    name: String,
    /// `None` for the namespace of the binding.
    namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubjectKind {
    User,
    Group,
    ServiceAccount,
}

/// Why a request is allowed, shown in reviews.
#[derive(Debug, Clone)]
pub struct Grant {
    binding: Arc<Binding>,
    subject: usize,
}

/// A binding names a role that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRole(pub RoleRef);

/// The caller's rules, and the roles of its bindings that do not exist.
#[derive(Debug, Default)]
pub struct Rules {
    /// The rules of all roles that exist.
    pub rules: Vec<Rule>,
    /// Roles that a binding names but that do not exist.
    pub missing: Vec<MissingRole>,
}

// === impl Policy ===

impl Policy {
    /// Adds or replaces a stored object; other kinds are ignored.
    pub fn put(&mut self, object: &Value) {
        let (namespace, name) =
            (object::meta_str(object, "namespace"), object::meta_str(object, "name"));
        match text(object, "/kind") {
            "ClusterRole" => {
                Arc::make_mut(&mut self.cluster_roles)
                    .insert(name.to_owned(), Rule::of_role(object).into());
            }
            "Role" => {
                let key = (namespace.to_owned(), name.to_owned());
                Arc::make_mut(&mut self.roles).insert(key, Rule::of_role(object).into());
            }
            "ClusterRoleBinding" => {
                Arc::make_mut(&mut self.cluster_bindings)
                    .insert(name.to_owned(), Arc::new(Binding::read(object)));
            }
            "RoleBinding" => {
                Arc::make_mut(&mut self.bindings)
                    .entry(namespace.to_owned())
                    .or_default()
                    .insert(name.to_owned(), Arc::new(Binding::read(object)));
            }
            _ => {}
        }
    }

    /// Removes a deleted object.
    pub fn remove(&mut self, object: &Value) {
        let (namespace, name) =
            (object::meta_str(object, "namespace"), object::meta_str(object, "name"));
        match text(object, "/kind") {
            "ClusterRole" => drop(Arc::make_mut(&mut self.cluster_roles).remove(name)),
            "Role" => drop(
                Arc::make_mut(&mut self.roles).remove(&(namespace.to_owned(), name.to_owned())),
            ),
            "ClusterRoleBinding" => drop(Arc::make_mut(&mut self.cluster_bindings).remove(name)),
            "RoleBinding" => {
                let bindings = Arc::make_mut(&mut self.bindings);
                if let Some(own) = bindings.get_mut(namespace) {
                    own.remove(name);
                    if own.is_empty() {
                        bindings.remove(namespace);
                    }
                }
            }
            _ => {}
        }
    }

    /// Which binding allows a request.
    ///
    /// # Errors
    /// If nothing allows it: the roles that the caller's bindings name but that do not exist.
    pub fn grant(&self, attributes: &Attributes<'_>) -> Result<Grant, Vec<MissingRole>> {
        let mut missing = Vec::new();
        for (binding, subject) in self.bindings_of(attributes.identity, attributes.namespace) {
            match self.role(&binding.role, binding.namespace()) {
                Ok(rules) if rules.iter().any(|rule| rule.allows(attributes)) => {
                    return Ok(Grant { binding: Arc::clone(binding), subject });
                }
                Ok(_) => {}
                Err(error) => missing.push(error),
            }
        }
        Err(missing)
    }

    /// The rules of a caller in a namespace, or at the cluster scope for `None`.
    pub fn rules_of(&self, identity: &Identity, namespace: Option<Namespace<'_>>) -> Rules {
        let mut all = Rules::default();
        for (binding, _) in self.bindings_of(identity, namespace) {
            match self.role(&binding.role, binding.namespace()) {
                Ok(rules) => all.rules.extend(rules.iter().cloned()),
                Err(error) => all.missing.push(error),
            }
        }
        all
    }

    /// The rules of a role.
    ///
    /// # Errors
    /// If the role does not exist.
    pub fn role(
        &self,
        role: &RoleRef,
        namespace: Option<Namespace<'_>>,
    ) -> Result<&[Rule], MissingRole> {
        let found = if role.cluster {
            self.cluster_roles.get(&role.name)
        } else {
            let own = |namespace: Namespace<'_>| (namespace.to_string(), role.name.clone());
            namespace.and_then(|namespace| self.roles.get(&own(namespace)))
        };
        found.map(|rules| &**rules).ok_or_else(|| MissingRole(role.clone()))
    }

    /// The bindings that apply to a caller in a namespace, cluster-wide ones first, each with the
    /// index of the matching subject.
    fn bindings_of<'a>(
        &'a self,
        identity: &'a Identity,
        namespace: Option<Namespace<'_>>,
    ) -> impl Iterator<Item = (&'a Arc<Binding>, usize)> {
        let own = namespace.and_then(|namespace| self.bindings.get(namespace.as_str()));
        let bindings =
            self.cluster_bindings.values().chain(own.into_iter().flat_map(BTreeMap::values));
        bindings.filter_map(|binding| {
            let subject = binding
                .subjects
                .iter()
                .position(|subject| subject.is(identity, binding.namespace()))?;
            Some((binding, subject))
        })
    }
}

// === impl Binding ===

impl Binding {
    fn read(object: &Value) -> Self {
        Self {
            namespace: object::namespace(object).map(|namespace| namespace.to_string()),
            name: object::meta_str(object, "name").to_owned(),
            role: RoleRef::read(object),
            subjects: list(object, "/subjects").iter().filter_map(Subject::read).collect(),
        }
    }
}

impl Binding {
    fn namespace(&self) -> Option<Namespace<'_>> {
        Namespace::new(self.namespace.as_deref()?)
    }
}

// === impl RoleRef ===

impl RoleRef {
    /// The role that a binding names.
    pub fn read(binding: &Value) -> Self {
        Self {
            cluster: text(binding, "/roleRef/kind") == "ClusterRole",
            name: text(binding, "/roleRef/name").to_owned(),
        }
    }

    /// The kind that it names.
    pub fn kind(&self) -> &'static str {
        if self.cluster { "ClusterRole" } else { "Role" }
    }

    /// The resource that it names.
    pub fn resource(&self) -> &'static str {
        if self.cluster { "clusterroles" } else { "roles" }
    }
}

// === impl Subject ===

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        let kind = match text(subject, "/kind") {
            "User" => SubjectKind::User,
            "Group" => SubjectKind::Group,
            "ServiceAccount" => SubjectKind::ServiceAccount,
            _ => return None,
        };
        let namespace = Namespace::new(text(subject, "/namespace"));
        let namespace = namespace.map(|namespace| namespace.to_string());
        Some(Self { kind, name: text(subject, "/name").to_owned(), namespace })
    }

    fn is(&self, identity: &Identity, binding_namespace: Option<Namespace<'_>>) -> bool {
        match self.kind {
            SubjectKind::User => *identity.name == *self.name,
            SubjectKind::Group => identity.is_member(&self.name),
            SubjectKind::ServiceAccount => {
                let namespace = self.namespace_in(binding_namespace);
                let user = identity.name.strip_prefix(SERVICE_ACCOUNT_PREFIX);
                let user = user.and_then(|rest| rest.split_once(':'));
                namespace.is_some_and(|it| user == Some((it.as_str(), &self.name)))
            }
        }
    }

    fn namespace_in<'a>(
        &'a self,
        binding_namespace: Option<Namespace<'a>>,
    ) -> Option<Namespace<'a>> {
        self.namespace.as_deref().and_then(Namespace::new).or(binding_namespace)
    }
}

// === impl Grant ===

/// The form in reviews.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { name, role, subjects, .. } = &*self.binding;
        let namespace = self.binding.namespace();
        match namespace {
            None => write!(f, "RBAC: allowed by ClusterRoleBinding {name:?}")?,
            Some(namespace) => {
                write!(f, "RBAC: allowed by RoleBinding {:?}", format!("{name}/{namespace}"))?;
            }
        }
        write!(f, " of {} {:?}", role.kind(), role.name)?;
        let Some(subject) = subjects.get(self.subject) else { return Ok(()) };
        match subject.kind {
            SubjectKind::User => write!(f, " to User {:?}", subject.name),
            SubjectKind::Group => write!(f, " to Group {:?}", subject.name),
            SubjectKind::ServiceAccount => {
                let namespace = subject.namespace_in(namespace).map_or("", Namespace::as_str);
                write!(f, " to ServiceAccount {:?}", format!("{}/{namespace}", subject.name))
            }
        }
    }
}

// === impl MissingRole ===

impl fmt::Display for MissingRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.cluster { "clusterrole" } else { "role" };
        write!(f, "{kind}.{GROUP} {:?} not found", self.0.name)
    }
}

/// The reason in a refusal for roles that do not exist: each once, several in brackets, as upstream
/// aggregates errors.
pub fn missing_reason(missing: &[MissingRole]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in missing.iter().map(MissingRole::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests;
