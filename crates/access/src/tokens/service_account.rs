//! Tokens of service accounts: signed, expiring, for an audience, and dead when what they are bound to is gone.
//!
//! The claims are upstream's (`pkg/serviceaccount/claims.go`), so that libraries which look into a token find what they
//! know. Nothing is stored: a token counts while its signature, its time and the objects that it names do.

use std::sync::Arc;

use jiff::Timestamp;
use mxjob_store::Store;
use serde_json::{Value, json};

use crate::identity::{CREDENTIAL_ID, Identity};
use crate::tokens::jwt::SigningKey;
use mxjob_machinery::environment::Environment;
use mxjob_machinery::json::text;
use mxjob_machinery::object;

/// Who issues the tokens, and for whom they are where nobody says otherwise: this API server.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Issues tokens and reads them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServiceAccounts {
    key: SigningKey,
    store: Store,
    environment: Arc<dyn Environment>,
}

/// An object with whose end a token ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its kind.
    pub kind: BoundKind,
    /// Its name, in the namespace of the account.
    pub name: String,
    /// Its uid: another object of that name does not count.
    pub uid: String,
}

/// What a token can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// The pod that uses the token.
    Pod,
    /// A secret whose removal ends the token.
    Secret,
    /// The node of the pod that uses the token.
    Node,
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not one of ours.
    #[error("invalid bearer token")]
    Unknown,
    /// Its time is over.
    #[error("invalid bearer token, service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("invalid bearer token, service account token is not valid yet")]
    NotYetValid,
    /// It is meant for somebody else.
    #[error(
        "invalid bearer token, token audiences {given:?} is invalid for the target audiences {wanted:?}"
    )]
    Audience {
        /// For whom it is.
        given: Vec<String>,
        /// Who asked.
        wanted: Vec<String>,
    },
    /// The account or what the token is bound to is gone, or was created again.
    #[error("invalid bearer token, service account token has been invalidated")]
    Invalidated,
}

// === impl ServiceAccounts ===

impl ServiceAccounts {
    /// An issuer with a key, for the accounts of a store.
    #[must_use]
    pub fn new(key: SigningKey, store: Store, environment: Arc<dyn Environment>) -> Self {
        Self { key, store, environment }
    }

    /// A token for an account as stored, from `now` for `seconds`; `None` where the system gives no random bytes.
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

    /// Whose token it is, and which of the audiences asked for it is meant for.
    ///
    /// # Errors
    /// Where it does not count.
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
        // A clock that was set back by a second must not cost a login.
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

    /// The identity of good claims, if all that they name is still there.
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

    /// Whether that very object is there, and not past the end of its deletion.
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
