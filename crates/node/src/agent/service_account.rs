//! The service account of a pod: its tokens, and the files that programs in a pod expect.
//!
//! Upstream an admission plugin adds the volume to each pod. Here the node adds it when it starts a
//! container, so that pods stay small and nothing fails where mounts are not permitted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use mxjob_client::Lenient;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::fields::{account_of, volumes_of};
use crate::{clock, state::RelativePath, volumes::Files};

/// Where client libraries look for the files, as on every cluster.
pub(super) const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The name of the volume.
pub(super) const VOLUME: &str = "kube-api-access";
/// The lifetime of its token: upstream's.
const TOKEN_SECONDS: i64 = 3607;
/// The default and the shortest lifetime of other tokens: upstream's.
const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
/// A token is replaced after this part of its lifetime, or after a day.
const REFRESH_PERCENT: i64 = 80;
const MAX_AGE_SECONDS: i64 = 24 * 3600;
/// A new namespace has no service account for some milliseconds. A longer wait is the worker's.
const ACCOUNT_DELAYS_MS: [u64; 6] = [5, 10, 20, 40, 80, 160];

/// What the service account says about its pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Its `automountServiceAccountToken`.
    automount: Option<bool>,
}

/// A kind of token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    /// Empty for the API server.
    audience: String,
    seconds: i64,
}

/// The tokens of all pods of this node, so that no container and no refresh requests a new one
/// before the old one is old. A pod's are forgotten when it goes.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, HashMap<TokenKey, Token>>>);

#[derive(Debug, Clone)]
struct Token {
    text: String,
    refresh_at: Timestamp,
}

/// The files of the volume that every container gets.
#[derive(Debug, Clone)]
pub(super) struct AccountFiles {
    pub(super) token: String,
    pub(super) namespace: String,
    /// The certificates of the API server's authority, as PEM.
    pub(super) authority: Arc<str>,
}

// === impl TokenKey ===

impl TokenKey {
    /// The key of a projected token.
    pub(super) fn of(audience: Option<&str>, seconds: Option<i64>) -> Self {
        let audience = audience.unwrap_or_default().to_owned();
        Self { audience, seconds: seconds.unwrap_or(DEFAULT_SECONDS).max(MIN_SECONDS) }
    }

    /// The key of the automatic volume's token.
    pub(super) fn automatic() -> Self {
        Self::of(None, Some(TOKEN_SECONDS))
    }

    /// Those of a pod's volumes.
    pub(super) fn of_volumes(pod: &Pod) -> Vec<Self> {
        let projected = volumes_of(pod).iter().filter_map(|volume| volume.projected.as_ref());
        let sources = projected.flat_map(|source| source.sources.iter().flatten());
        let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
        tokens.map(|token| Self::of(token.audience.as_deref(), token.expiration_seconds)).collect()
    }
}

// === impl Tokens ===

impl Tokens {
    /// A token for a pod, or why the API server issues none.
    pub(super) async fn get(
        &self,
        client: &Client,
        pod: &Pod,
        key: &TokenKey,
    ) -> Result<String, kube::Error> {
        let uid = pod.uid().unwrap_or_default();
        let now = clock::now();
        let known = self.0.lock().get(&uid).and_then(|of_pod| of_pod.get(key)).cloned();
        if let Some(known) = known.filter(|known| known.refresh_at > now) {
            return Ok(known.text);
        }
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        let request = request(pod, key);
        let parameters = PostParams::default();
        let issued = api.create_token_request(account_of(pod), &parameters, &request).await?;
        let status = issued.status.unwrap_or_default();
        let text = status.token.unwrap_or_default();
        // One without an end is replaced soon.
        let end = status.expiration_timestamp.map_or(now, |end| end.0);
        let token = Token { text: text.clone(), refresh_at: refresh_at(now, end) };
        self.0.lock().entry(uid).or_default().insert(key.clone(), token);
        Ok(text)
    }

    /// When the first of a pod's tokens has to be replaced.
    pub(super) fn refresh_at(&self, uid: &str) -> Option<Timestamp> {
        self.0.lock().get(uid)?.values().map(|token| token.refresh_at).min()
    }

    /// Forgets the tokens of a pod.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

fn request(pod: &Pod, key: &TokenKey) -> TokenRequest {
    let audiences = Some(key.audience.clone()).filter(|audience| !audience.is_empty());
    TokenRequest {
        metadata: ObjectMeta::default(),
        spec: Some(TokenRequestSpec {
            audiences: Some(audiences.into_iter().collect()),
            // The token ends with the pod.
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            expiration_seconds: Some(key.seconds),
            ..TokenRequestSpec::default()
        }),
        status: None,
    }
}

fn refresh_at(now: Timestamp, end: Timestamp) -> Timestamp {
    let lifetime = end.as_second().saturating_sub(now.as_second()).max(0);
    let age = (lifetime / 100).saturating_mul(REFRESH_PERCENT).min(MAX_AGE_SECONDS);
    now.checked_add(SignedDuration::from_secs(age)).unwrap_or(end)
}

// === impl Account ===

impl Account {
    /// Whether a pod's containers get the automatic volume. The pod decides before its account.
    pub(super) fn automounts(self, pod: &Pod) -> bool {
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.automount_service_account_token);
        of_pod.or(self.automount).unwrap_or(true)
            && volumes_of(pod).iter().all(|volume| volume.name != VOLUME)
    }

    /// Reads the account of a pod; `None` if it does not exist.
    pub(super) async fn read(client: &Client, pod: &Pod) -> Result<Option<Self>, kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Lenient<ServiceAccount>> = Api::namespaced(client.clone(), &namespace);
        for delay in ACCOUNT_DELAYS_MS.map(Some).into_iter().chain([None]) {
            if let Some(account) = api.get_opt(account_of(pod)).await? {
                let automount =
                    account.0.ok().and_then(|account| account.automount_service_account_token);
                return Ok(Some(Self { automount }));
            }
            match delay {
                Some(delay) => sleep(Duration::from_millis(delay)).await,
                None => break,
            }
        }
        Ok(None)
    }
}

// === impl AccountFiles ===

impl AccountFiles {
    /// The content of the volume.
    pub(super) fn files(&self) -> Files<'_> {
        let all = [
            ("token", &*self.token),
            ("namespace", &*self.namespace),
            ("ca.crt", &*self.authority),
        ];
        all.into_iter()
            .filter_map(|(name, content)| {
                Some((RelativePath::file(name).ok()?, (content.as_bytes().into(), 0o644)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "p", "uid": "u" }, "spec": spec }))
            .unwrap()
    }

    #[test]
    fn the_pod_decides_about_its_token_before_its_account() {
        for (of_pod, automount, expect) in [
            (json!(null), None, true),
            (json!(null), Some(true), true),
            (json!(null), Some(false), false),
            (json!(true), Some(false), true),
            (json!(false), Some(true), false),
        ] {
            let pod = pod(&json!({ "containers": [], "automountServiceAccountToken": of_pod }));
            assert_eq!(Account { automount }.automounts(&pod), expect, "{of_pod} {automount:?}");
        }
        let own =
            pod(&json!({ "containers": [], "volumes": [{ "name": VOLUME, "emptyDir": {} }] }));
        assert!(!Account::default().automounts(&own));
    }

    #[test]
    fn a_token_is_replaced_after_most_of_its_life() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, age) in [(3607, 2880), (600, 480), (1 << 30, 86_400), (-5, 0)] {
            let end = Timestamp::from_second(1_000_000 + seconds).unwrap();
            assert_eq!(refresh_at(now, end).as_second(), 1_000_000 + age, "{seconds}");
        }
    }

    #[test]
    fn a_request_binds_the_token_to_its_pod() {
        let account = pod(&json!({ "containers": [], "serviceAccountName": "robot" }));
        let request = request(&account, &TokenKey::of(Some("vault"), Some(1)));
        let spec = request.spec.unwrap();
        assert_eq!(spec.audiences.unwrap(), ["vault"]);
        assert_eq!(spec.expiration_seconds, Some(600));
        let bound = spec.bound_object_ref.unwrap();
        assert_eq!((bound.name.as_deref(), bound.uid.as_deref()), (Some("p"), Some("u")));
        assert_eq!(account_of(&account), "robot");
    }
}
