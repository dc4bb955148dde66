//! Reads the objects that a pod refers to: ConfigMaps, Secrets, claims, and tokens.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, EnvFromSource, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, SecretKeySelector,
};
use kube::{Api, Client, ResourceExt as _};
use mxjob_client::Lenient;

use super::{
    claims::{self, ClaimFolder},
    fields::volumes_of,
    service_account::TokenKey,
};

/// Why a container cannot be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StartProblem {
    /// A later attempt may succeed, for example when a missing object was created.
    Retryable(String),
    /// The same, for a volume.
    Volume(String),
    /// The container can never be started on this node.
    Permanent(String),
}

/// The content of an object, or why it is unreadable.
pub(super) type Data = Result<BTreeMap<String, Vec<u8>>, String>;

/// Data by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    config_maps: HashMap<String, Data>,
    secrets: HashMap<String, Data>,
    /// By the name of the volume: the claim's folder, or why it cannot be mounted yet.
    claims: HashMap<String, Result<ClaimFolder, String>>,
    /// The tokens of the pod's volumes, or why there is none.
    pub(super) tokens: HashMap<TokenKey, Result<String, String>>,
}

/// The names of the objects that a pod refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    pub(super) config_maps: BTreeSet<String>,
    pub(super) secrets: BTreeSet<String>,
}

impl Sources {
    /// Reads the ConfigMaps and Secrets with these names.
    pub(super) async fn read(
        client: &Client,
        namespace: &str,
        references: References,
    ) -> Result<Self, kube::Error> {
        let mut found = Self::default();
        for name in references.config_maps {
            let api: Api<Lenient<ConfigMap>> = Api::namespaced(client.clone(), namespace);
            if let Some(object) = api.get_opt(&name).await? {
                let data = object.0.map(|object| {
                    let text = object.data.into_iter().flatten();
                    let text = text.map(|(key, text)| (key, text.into_bytes()));
                    let binary = object.binary_data.into_iter().flatten();
                    text.chain(binary.map(|(key, data)| (key, data.0))).collect()
                });
                found.config_maps.insert(name, data.map_err(|unreadable| unreadable.why));
            }
        }
        for name in references.secrets {
            let api: Api<Lenient<Secret>> = Api::namespaced(client.clone(), namespace);
            if let Some(object) = api.get_opt(&name).await? {
                let data = object.0.map(|object| {
                    let data = object.data.into_iter().flatten().map(|(key, data)| (key, data.0));
                    // A server may keep the plain text of the user.
                    let text = object.string_data.into_iter().flatten();
                    data.chain(text.map(|(key, text)| (key, text.into_bytes()))).collect()
                });
                found.secrets.insert(name, data.map_err(|unreadable| unreadable.why));
            }
        }
        Ok(found)
    }

    #[cfg(test)]
    pub(super) fn with(config_maps: HashMap<String, Data>, secrets: HashMap<String, Data>) -> Self {
        Self { config_maps, secrets, ..Self::default() }
    }

    /// Adds the claims of the pod's volumes and their folders. `is_new`: no container of the pod
    /// was started yet.
    pub(super) async fn add_claims(
        &mut self,
        client: &Client,
        pod: &Pod,
        is_new: bool,
    ) -> Result<(), kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        for volume in volumes_of(pod) {
            let Some(name) = claims::name(pod, volume) else { continue };
            let api: Api<Lenient<PersistentVolumeClaim>> =
                Api::namespaced(client.clone(), &namespace);
            let claim = match api.get_opt(&name).await? {
                Some(claim) => claim.0.map_err(|unreadable| unreadable.message()),
                None => Err(format!("persistentvolumeclaim {name:?} not found")),
            };
            let bound = claim.and_then(|claim| {
                claims::bound(pod, volume, &claim, is_new).map(|volume| (claim, volume))
            });
            let folder = match bound {
                Ok((claim, bound)) => {
                    let api: Api<Lenient<PersistentVolume>> = Api::all(client.clone());
                    match api.get_opt(&bound).await? {
                        Some(found) => found
                            .0
                            .map_err(|unreadable| unreadable.message())
                            .and_then(|found| claims::folder(&claim, &found)),
                        None => Err(format!("persistentvolume {bound:?} not found")),
                    }
                }
                Err(why) => Err(why),
            };
            self.claims.insert(volume.name.clone(), folder);
        }
        Ok(())
    }

    /// The folder of a volume with a claim.
    pub(super) fn claim(&self, volume: &str) -> Result<&ClaimFolder, String> {
        match self.claims.get(volume) {
            Some(Ok(folder)) => Ok(folder),
            Some(Err(why)) => Err(why.clone()),
            None => Err("its claim was not read".to_owned()),
        }
    }

    pub(super) fn env_from(
        &self,
        from: &EnvFromSource,
    ) -> Result<Vec<(String, String)>, StartProblem> {
        let data = if let Some(source) = &from.config_map_ref {
            self.config_map(&source.name, source.optional).map_err(StartProblem::Retryable)?
        } else if let Some(source) = &from.secret_ref {
            self.secret(&source.name, source.optional).map_err(StartProblem::Retryable)?
        } else {
            None
        };
        Ok(data
            .into_iter()
            .flatten()
            .map(|(key, bytes)| (key.clone(), String::from_utf8_lossy(bytes).into_owned()))
            .collect())
    }

    pub(super) fn config_map_key(
        &self,
        key: &ConfigMapKeySelector,
    ) -> Result<Option<String>, StartProblem> {
        let data = self.config_map(&key.name, key.optional).map_err(StartProblem::Retryable)?;
        text_of("configmap", &key.name, data, &key.key, key.optional)
    }

    pub(super) fn secret_key(
        &self,
        key: &SecretKeySelector,
    ) -> Result<Option<String>, StartProblem> {
        let data = self.secret(&key.name, key.optional).map_err(StartProblem::Retryable)?;
        text_of("secret", &key.name, data, &key.key, key.optional)
    }

    pub(super) fn config_map(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<&BTreeMap<String, Vec<u8>>>, String> {
        present("configmap", name, self.config_maps.get(name), optional)
    }

    pub(super) fn secret(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<&BTreeMap<String, Vec<u8>>>, String> {
        present("secret", name, self.secrets.get(name), optional)
    }
}

fn present<'a>(
    kind: &str,
    name: &str,
    found: Option<&'a Data>,
    optional: Option<bool>,
) -> Result<Option<&'a BTreeMap<String, Vec<u8>>>, String> {
    match found {
        Some(Ok(data)) => Ok(Some(data)),
        Some(Err(why)) => Err(format!("{kind} {name:?} cannot be read: {why}")),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("{kind} {name:?} not found")),
    }
}

fn text_of(
    kind: &str,
    name: &str,
    data: Option<&BTreeMap<String, Vec<u8>>>,
    key: &str,
    optional: Option<bool>,
) -> Result<Option<String>, StartProblem> {
    match data.and_then(|data| data.get(key)) {
        Some(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        None if optional == Some(true) => Ok(None),
        None => Err(StartProblem::Retryable(format!("couldn't find key {key} in {kind} {name:?}"))),
    }
}

impl References {
    /// Those of all containers and volumes.
    pub(super) fn of(pod: &Pod) -> Self {
        let mut found = Self::of_volumes(pod);
        let Some(spec) = &pod.spec else { return found };
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            for from in container.env_from.iter().flatten() {
                found.config_maps.extend(from.config_map_ref.iter().map(|it| it.name.clone()));
                found.secrets.extend(from.secret_ref.iter().map(|it| it.name.clone()));
            }
            let variables = container.env.iter().flatten();
            for from in variables.filter_map(|variable| variable.value_from.as_ref()) {
                found.config_maps.extend(from.config_map_key_ref.iter().map(|it| it.name.clone()));
                found.secrets.extend(from.secret_key_ref.iter().map(|it| it.name.clone()));
            }
        }
        found
    }

    /// Those of the volumes.
    pub(super) fn of_volumes(pod: &Pod) -> Self {
        let mut found = Self::default();
        for volume in volumes_of(pod) {
            found.config_maps.extend(volume.config_map.iter().map(|it| it.name.clone()));
            found.secrets.extend(volume.secret.iter().filter_map(|it| it.secret_name.clone()));
            let projected = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
            for source in projected {
                found.config_maps.extend(source.config_map.iter().map(|it| it.name.clone()));
                found.secrets.extend(source.secret.iter().map(|it| it.name.clone()));
            }
        }
        found.config_maps.remove("");
        found.secrets.remove("");
        found
    }
}
