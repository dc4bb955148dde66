//! Tokens of service accounts: signed, expiring, limited to an audience, and invalid once a bound
//! object is gone.
//!
//! The claims are upstream's (`pkg/serviceaccount/claims.go`), so that libraries that read them
//! work. Nothing is stored: a token is valid while its signature, its times and the objects that it
//! names are.

use std::sync::Arc;

use jiff::Timestamp;
use mxjob_machinery::environment::Environment;
use mxjob_machinery::json::text;
use mxjob_machinery::object;
use mxjob_store::Store;
use serde_json::{Value, json};

use crate::identity::{CREDENTIAL_ID, Identity};
use crate::tokens::jwt::SigningKey;

/// The issuer of the tokens, and their default audience: this API server.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Issues and verifies tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServiceAccounts {
    key: SigningKey,
    store: Store,
    environment: Arc<dyn Environment>,
}

/// An object to which a token is bound; the token is invalid once the object is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its kind.
    pub kind: BoundKind,
    /// Its name, in the namespace of the account.
    pub name: String,
    /// Its uid: a recreated object of the same name does not count.
    pub uid: String,
}

/// The kinds of objects that a token can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// The pod that uses the token.
    Pod,
    /// A secret whose removal ends the token.
    Secret,
    /// The node of the pod that uses the token.
    Node,
}

/// Why a token is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// This server did not issue it.
    #[error("invalid bearer token")]
    Unknown,
    /// It has expired.
    #[error("invalid bearer token, service account token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("invalid bearer token, service account token is not valid yet")]
    NotYetValid,
    /// It is for another audience.
    #[error(
        "invalid bearer token, token audiences {given:?} is invalid for the target audiences {wanted:?}"
    )]
    Audience {
        /// The audiences of the token.
        given: Vec<String>,
        /// The expected audiences.
        wanted: Vec<String>,
    },
    /// The account or the bound object is gone or was recreated.
    #[error("invalid bearer token, service account token has been invalidated")]
    Invalidated,
}

// === impl ServiceAccounts ===

impl ServiceAccounts {
    /// An issuer with this key, for the accounts of a store.
    #[must_use]
    pub fn new(key: SigningKey, store: Store, environment: Arc<dyn Environment>) -> Self {
        Self { key, store, environment }
    }

    /// The public key of the tokens, as a JSON Web Key.
    pub fn public_jwk(&self) -> serde_json::Value {
        self.key.public_jwk()
    }

    /// Issues a token for a stored account, valid from `now` for `seconds`; `None` if the system
    /// provides no random bytes.
    pub fn issue(
        &self,
        account: &Value,
        audiences: &[String],
        (now, seconds): (Timestamp, i64),
        bound: Option<&Bound>,
    ) -> Option<String> {
        let (namespace, name) =
            (object::meta_str(account, "namespace"), object::meta_str(account, "name"));
        let mut about = json!({
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": object::meta_str(account, "uid")},
        });
        if let Some(bound) = bound {
            about[bound.kind.claim()] = json!({"name": bound.name, "uid": bound.uid});
        }
        let now = now.as_second();
        self.key.sign(&json!({
            "aud": audiences,
            "exp": now.saturating_add(seconds),
            "iat": now,
            "iss": ISSUER,
            "jti": self.environment.uid(),
            "kubernetes.io": about,
            "nbf": now,
            "sub": format!("{}{namespace}:{name}", crate::identity::SERVICE_ACCOUNT_PREFIX),
        }))
    }

    /// The owner of a token, and the requested audiences that it is valid for.
    ///
    /// # Errors
    /// If the token is not valid.
    pub fn check(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), Invalid> {
        let claims = self
            .key
            .verify(token)
            .filter(|claims| claims["iss"] == ISSUER)
            .ok_or(Invalid::Unknown)?;
        let now = self.environment.now().as_second();
        if claims["exp"].as_i64().is_none_or(|end| end <= now) {
            return Err(Invalid::Expired);
        }
        // Tolerates clocks that were set back by a second.
        if claims["nbf"].as_i64().is_none_or(|begin| begin > now.saturating_add(60)) {
            return Err(Invalid::NotYetValid);
        }
        let given = claims["aud"].as_array().into_iter().flatten();
        let given: Vec<String> = given.filter_map(|one| one.as_str().map(str::to_owned)).collect();
        let met: Vec<String> =
            audiences.iter().filter(|audience| given.contains(audience)).cloned().collect();
        if met.is_empty() {
            return Err(Invalid::Audience { given, wanted: audiences.to_vec() });
        }
        let identity = self.identity(&claims).ok_or(Invalid::Invalidated)?;
        Ok((identity, met))
    }

    /// The identity in verified claims, if all objects that they name still exist.
    fn identity(&self, claims: &Value) -> Option<Identity> {
        let about = &claims["kubernetes.io"];
        let namespace = about["namespace"].as_str()?;
        let (name, uid) = (text(about, "/serviceaccount/name"), text(about, "/serviceaccount/uid"));
        if !self.lives("serviceaccounts", namespace, name, uid) {
            return None;
        }
        let mut extra = std::collections::BTreeMap::new();
        let mut tell = |key: &str, value: &str| {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        };
        for kind in [BoundKind::Pod, BoundKind::Secret, BoundKind::Node] {
            let Some(bound) = about.get(kind.claim()) else { continue };
            let (name, uid) = (text(bound, "/name"), text(bound, "/uid"));
            if !self.lives(kind.plural(), namespace, name, uid) {
                return None;
            }
            if kind != BoundKind::Secret {
                tell(&format!("{}-name", kind.claim()), name);
                tell(&format!("{}-uid", kind.claim()), uid);
            }
        }
        extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={}", text(claims, "/jti"))]);
        Some(Identity::service_account(namespace, name, uid).with_extra(extra))
    }

    /// Whether the object with that uid still exists, and its deletion grace period has not passed.
    fn lives(&self, plural: &str, namespace: &str, name: &str, uid: &str) -> bool {
        let scope = if plural == "nodes" { String::new() } else { format!("{namespace}/") };
        let key = format!("/registry/{plural}/{scope}{name}");
        let Some(entry) = self.store.get(&key) else { return false };
        let object = object::decode(&entry.value);
        let deleted = object::meta_str(&object, "deletionTimestamp").parse::<Timestamp>();
        object::meta_str(&object, "uid") == uid
            && deleted.map_or(true, |end| end > self.environment.now())
    }
}

// === impl BoundKind ===

impl BoundKind {
    /// The kind of that name.
    pub fn parse(kind: &str) -> Option<Self> {
        [Self::Pod, Self::Secret, Self::Node].into_iter().find(|own| own.kind() == kind)
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Secret => "Secret",
            Self::Node => "Node",
        }
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Secret => "secret",
            Self::Node => "node",
        }
    }

    /// The resource.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::Node => "nodes",
        }
    }
}
