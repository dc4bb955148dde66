//! Reads the ConfigMaps and Secrets that a pod refers to, when a container starts.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, EnvFromSource, Pod, Secret, SecretKeySelector,
};
use kube::{Api, Client, ResourceExt as _};
use mxjob_client::Lenient;

/// Why a container cannot be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StartProblem {
    /// A later attempt may succeed, for example when a missing object was created.
    Retryable(String),
    /// The container can never be started on this node.
    Permanent(String),
}

/// The content of an object, or why it is unreadable.
type Data = Result<BTreeMap<String, Vec<u8>>, String>;

/// Data by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    config_maps: HashMap<String, Data>,
    secrets: HashMap<String, Data>,
}

impl Sources {
    /// Reads all objects that a pod refers to. Missing objects are missing from the result.
    pub(super) async fn read(client: &Client, pod: &Pod) -> Result<Self, kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let (config_maps, secrets) = referred(pod);
        let mut found = Self::default();
        for name in config_maps {
            let api: Api<Lenient<ConfigMap>> = Api::namespaced(client.clone(), &namespace);
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
        for name in secrets {
            let api: Api<Lenient<Secret>> = Api::namespaced(client.clone(), &namespace);
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

    pub(super) fn env_from(
        &self,
        from: &EnvFromSource,
    ) -> Result<Vec<(String, String)>, StartProblem> {
        let data = if let Some(source) = &from.config_map_ref {
            self.config_map(&source.name, source.optional)?
        } else if let Some(source) = &from.secret_ref {
            self.secret(&source.name, source.optional)?
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
        let data = self.config_map(&key.name, key.optional)?;
        text_of("configmap", &key.name, data, &key.key, key.optional)
    }

    pub(super) fn secret_key(
        &self,
        key: &SecretKeySelector,
    ) -> Result<Option<String>, StartProblem> {
        let data = self.secret(&key.name, key.optional)?;
        text_of("secret", &key.name, data, &key.key, key.optional)
    }

    pub(super) fn config_map(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<&BTreeMap<String, Vec<u8>>>, StartProblem> {
        present("configmap", name, self.config_maps.get(name), optional)
    }

    pub(super) fn secret(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<&BTreeMap<String, Vec<u8>>>, StartProblem> {
        present("secret", name, self.secrets.get(name), optional)
    }
}

fn present<'a>(
    kind: &str,
    name: &str,
    found: Option<&'a Data>,
    optional: Option<bool>,
) -> Result<Option<&'a BTreeMap<String, Vec<u8>>>, StartProblem> {
    match found {
        Some(Ok(data)) => Ok(Some(data)),
        Some(Err(why)) => {
            Err(StartProblem::Retryable(format!("{kind} {name:?} cannot be read: {why}")))
        }
        None if optional == Some(true) => Ok(None),
        None => Err(StartProblem::Retryable(format!("{kind} {name:?} not found"))),
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

fn referred(pod: &Pod) -> (HashSet<String>, HashSet<String>) {
    let (mut config_maps, mut secrets) = (HashSet::new(), HashSet::new());
    let Some(spec) = &pod.spec else { return (config_maps, secrets) };
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for from in container.env_from.iter().flatten() {
            config_maps.extend(from.config_map_ref.iter().map(|source| source.name.clone()));
            secrets.extend(from.secret_ref.iter().map(|source| source.name.clone()));
        }
        for from in
            container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref())
        {
            config_maps.extend(from.config_map_key_ref.iter().map(|key| key.name.clone()));
            secrets.extend(from.secret_key_ref.iter().map(|key| key.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
    }
    (config_maps, secrets)
}
