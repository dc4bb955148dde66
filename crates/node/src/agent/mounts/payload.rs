//! The files of `configMap`, `secret`, `downwardAPI` and `projected` volumes. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

use crate::{
    agent::{
        fields::{self, FieldFacts},
        service_account::TokenKey,
        sources::{Sources, StartProblem},
    },
    state::{NameError, RelativePath},
    volumes::{Files, Medium},
};

/// The mode of files without one of their own.
const DEFAULT_MODE: u32 = 0o644;

/// The content of a volume and where it is kept; `None` for other types of volumes.
pub(super) fn of<'a>(
    volume: &Volume,
    pod: &Pod,
    sources: &'a Sources,
    facts: &FieldFacts<'_>,
) -> Result<Option<(Medium, Files<'a>)>, StartProblem> {
    let context = Payload { volume: &volume.name, pod, sources, facts };
    let mut files = Files::new();
    let medium = if let Some(source) = &volume.config_map {
        let mode = mode_or(source.default_mode, DEFAULT_MODE);
        context.config_map(&mut files, &source.name, &source.items, source.optional, mode)?;
        Medium::Disk
    } else if let Some(source) = &volume.secret {
        let mode = mode_or(source.default_mode, DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        context.secret(&mut files, name, &source.items, source.optional, mode)?;
        Medium::Memory(None)
    } else if let Some(source) = &volume.downward_api {
        let mode = mode_or(source.default_mode, DEFAULT_MODE);
        context.downward(&mut files, &source.items, mode)?;
        Medium::Disk
    } else if let Some(source) = &volume.projected {
        let mode = mode_or(source.default_mode, DEFAULT_MODE);
        for one in source.sources.iter().flatten() {
            if let Some(map) = &one.config_map {
                context.config_map(&mut files, &map.name, &map.items, map.optional, mode)?;
            } else if let Some(secret) = &one.secret {
                context.secret(&mut files, &secret.name, &secret.items, secret.optional, mode)?;
            } else if let Some(downward) = &one.downward_api {
                context.downward(&mut files, &downward.items, mode)?;
            } else if let Some(token) = &one.service_account_token {
                let key = TokenKey::of(token.audience.as_deref(), token.expiration_seconds);
                context.token(&mut files, &key, &token.path, mode)?;
            } else {
                return Err(context.permanent(
                    "the node supports only configMap, secret, downwardAPI and serviceAccountToken as projected sources",
                ));
            }
        }
        Medium::Memory(None)
    } else {
        return Ok(None);
    };
    Ok(Some((medium, files)))
}

fn mode_or(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default)
}

struct Payload<'a, 'b> {
    volume: &'b str,
    pod: &'b Pod,
    sources: &'a Sources,
    facts: &'b FieldFacts<'b>,
}

impl<'a> Payload<'a, '_> {
    fn permanent(&self, why: impl std::fmt::Display) -> StartProblem {
        StartProblem::Permanent(format!("volume {:?}: {why}", self.volume))
    }

    fn not_yet(&self, why: impl std::fmt::Display) -> StartProblem {
        super::not_mounted(self.volume, why)
    }

    fn config_map(
        &self,
        files: &mut Files<'a>,
        name: &str,
        items: &Option<Vec<KeyToPath>>,
        optional: Option<bool>,
        mode: u32,
    ) -> Result<(), StartProblem> {
        let missing = |key: &str| format!("configmap references non-existent config key: {key}");
        self.keys(files, self.sources.config_map(name, optional), items, optional, mode, missing)
    }

    fn secret(
        &self,
        files: &mut Files<'a>,
        name: &str,
        items: &Option<Vec<KeyToPath>>,
        optional: Option<bool>,
        mode: u32,
    ) -> Result<(), StartProblem> {
        let missing = |key: &str| format!("references non-existent secret key: {key}");
        self.keys(files, self.sources.secret(name, optional), items, optional, mode, missing)
    }

    fn keys(
        &self,
        files: &mut Files<'a>,
        data: Result<Option<&'a BTreeMap<String, Vec<u8>>>, String>,
        items: &Option<Vec<KeyToPath>>,
        optional: Option<bool>,
        mode: u32,
        missing: impl Fn(&str) -> String,
    ) -> Result<(), StartProblem> {
        let Some(data) = data.map_err(|why| self.not_yet(why))? else { return Ok(()) };
        let Some(items) = items.as_deref().filter(|items| !items.is_empty()) else {
            for (key, content) in data {
                let path = RelativePath::file(key).map_err(|error| self.permanent(error))?;
                files.insert(path, (content.as_slice().into(), mode));
            }
            return Ok(());
        };
        for item in items {
            let path = self.path(&item.path)?;
            match data.get(&item.key) {
                Some(content) => {
                    files.insert(path, (content.as_slice().into(), mode_or(item.mode, mode)));
                }
                None if optional == Some(true) => {}
                None => return Err(self.not_yet(missing(&item.key))),
            }
        }
        Ok(())
    }

    fn downward(
        &self,
        files: &mut Files<'a>,
        items: &Option<Vec<DownwardAPIVolumeFile>>,
        mode: u32,
    ) -> Result<(), StartProblem> {
        for item in items.iter().flatten() {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => fields::field(self.pod, &field.field_path, self.facts),
                (None, Some(resource)) => fields::resource(self.pod, None, resource, self.facts),
                (None, None) => {
                    return Err(self.permanent(format!("{:?} has no source", item.path)));
                }
            };
            let text = text.map_err(|error| self.permanent(error))?;
            let content = Cow::Owned(text.into_bytes());
            files.insert(self.path(&item.path)?, (content, mode_or(item.mode, mode)));
        }
        Ok(())
    }

    fn token(
        &self,
        files: &mut Files<'a>,
        key: &TokenKey,
        path: &str,
        mode: u32,
    ) -> Result<(), StartProblem> {
        let token = match self.sources.tokens.get(key) {
            Some(Ok(token)) => token.as_bytes(),
            Some(Err(why)) => return Err(self.not_yet(why)),
            None => return Err(self.not_yet("its token was not requested")),
        };
        files.insert(self.path(path)?, (token.into(), mode));
        Ok(())
    }

    fn path(&self, path: &str) -> Result<RelativePath, StartProblem> {
        RelativePath::below(path).map_err(|error: NameError| self.permanent(error))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::{Value, json};

    use super::*;

    fn sources() -> Sources {
        let text = |all: &[(&str, &str)]| {
            all.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let mut sources = Sources::with(
            [("c".to_owned(), Ok(text(&[("a", "1"), ("b", "2")])))].into(),
            [
                ("s".to_owned(), Ok(text(&[("password", "x")]))),
                ("broken".to_owned(), Err("spec: expected an object".to_owned())),
            ]
            .into(),
        );
        let token = |audience: &str| TokenKey::of(Some(audience), Some(600));
        sources.tokens.insert(token(""), Ok("t0".to_owned()));
        sources.tokens.insert(token("vault"), Err("not permitted".to_owned()));
        sources
    }

    /// The files of a volume as `path=content@mode`.
    fn files(volume: &Value) -> Result<(Medium, Vec<String>), StartProblem> {
        let mut object = json!({ "name": "v" });
        object.as_object_mut().unwrap().extend(volume.as_object().unwrap().clone());
        let volume: Volume = serde_json::from_value(object).unwrap();
        let pod = json!({
            "metadata": { "name": "p", "labels": { "l": "x" } },
            "spec": { "containers": [{ "name": "c", "resources": { "limits": { "cpu": "2" } } }] },
        });
        let pod = serde_json::from_value(pod).unwrap();
        let allocatable = BTreeMap::new();
        let facts = FieldFacts {
            address: Ipv4Addr::LOCALHOST,
            host_ip: "10.0.0.1",
            allocatable: &allocatable,
        };
        let sources = sources();
        let (medium, files) = of(&volume, &pod, &sources, &facts)?.unwrap();
        let line = |(path, (content, mode)): (&RelativePath, &(Cow<'_, [u8]>, u32))| {
            format!("{path}={}@{mode:o}", String::from_utf8_lossy(content))
        };
        Ok((medium, files.iter().map(line).collect()))
    }

    #[test]
    fn volumes_have_the_files_of_their_sources() {
        let memory = Medium::Memory(None);
        for (volume, medium, expect) in [
            (json!({ "configMap": { "name": "c" } }), Medium::Disk, &["a=1@644", "b=2@644"][..]),
            (
                json!({ "configMap": { "name": "c", "items": [], "defaultMode": 0o400 } }),
                Medium::Disk,
                &["a=1@400", "b=2@400"],
            ),
            (
                json!({ "configMap": { "name": "c", "defaultMode": 0o600, "items": [
                    { "key": "a", "path": "x/y" }, { "key": "a", "path": "z", "mode": 0o755 },
                ] } }),
                Medium::Disk,
                &["x/y=1@600", "z=1@755"],
            ),
            (
                json!({ "configMap": { "name": "c", "optional": true, "items": [
                    { "key": "a", "path": "x" }, { "key": "none", "path": "y" },
                ] } }),
                Medium::Disk,
                &["x=1@644"],
            ),
            (json!({ "configMap": { "name": "none", "optional": true } }), Medium::Disk, &[]),
            (json!({ "secret": { "secretName": "s" } }), memory, &["password=x@644"]),
            (
                json!({ "downwardAPI": { "items": [
                    { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
                    { "path": "cpu", "mode": 0o400, "resourceFieldRef": {
                        "containerName": "c", "resource": "limits.cpu", "divisor": "1m",
                    } },
                ] } }),
                Medium::Disk,
                &["cpu=2000@400", "labels=l=\"x\"@644"],
            ),
            (
                json!({ "projected": { "defaultMode": 0o440, "sources": [
                    { "configMap": { "name": "c", "items": [{ "key": "a", "path": "d/a" }] } },
                    { "secret": { "name": "s", "items": [{ "key": "password", "path": "d/p", "mode": 0o400 }] } },
                    { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
                    { "serviceAccountToken": { "path": "token", "expirationSeconds": 600 } },
                    { "secret": { "name": "none", "optional": true } },
                ] } }),
                memory,
                &["d/a=1@440", "d/p=x@400", "name=p@440", "token=t0@440"],
            ),
        ] {
            let (found, files) = files(&volume).unwrap();
            assert_eq!(files, expect, "{volume}");
            assert_eq!(found, medium, "{volume}");
        }
    }

    #[test]
    fn missing_objects_and_keys_are_waited_for() {
        for (volume, why) in [
            (json!({ "configMap": { "name": "none" } }), "configmap \"none\" not found"),
            (json!({ "secret": { "secretName": "none" } }), "secret \"none\" not found"),
            (
                json!({ "secret": { "secretName": "broken", "optional": true } }),
                "secret \"broken\" cannot be read: spec: expected an object",
            ),
            (
                json!({ "configMap": { "name": "c", "items": [{ "key": "none", "path": "y" }] } }),
                "configmap references non-existent config key: none",
            ),
            (
                json!({ "projected": { "sources": [
                    { "secret": { "name": "s", "items": [{ "key": "none", "path": "y" }] } },
                ] } }),
                "references non-existent secret key: none",
            ),
            (
                json!({ "projected": { "sources": [
                    { "serviceAccountToken": { "path": "t", "audience": "vault", "expirationSeconds": 600 } },
                ] } }),
                "not permitted",
            ),
        ] {
            let message = format!("MountVolume.SetUp failed for volume \"v\" : {why}");
            assert_eq!(files(&volume), Err(StartProblem::Volume(message)), "{volume}");
        }
    }

    #[test]
    fn paths_that_leave_the_volume_and_other_sources_are_rejected() {
        let item = |path: &str| json!([{ "key": "a", "path": path }]);
        let field = json!({ "fieldPath": "metadata.name" });
        let mut wrong = vec![
            json!({ "downwardAPI": { "items": [{ "path": "x" }] } }),
            json!({ "downwardAPI": { "items": [{ "path": "x", "fieldRef": { "fieldPath": "spec" } }] } }),
            json!({ "projected": { "sources": [{ "clusterTrustBundle": { "path": "x", "name": "n" } }] } }),
            json!({ "projected": { "sources": [{}] } }),
        ];
        for path in ["../x", "/x", "..", "a/../../x", ".", ""] {
            wrong.push(json!({ "configMap": { "name": "c", "items": item(path) } }));
            wrong
                .push(json!({ "downwardAPI": { "items": [{ "path": path, "fieldRef": field }] } }));
            wrong.push(json!({ "projected": { "sources": [
                { "serviceAccountToken": { "path": path, "expirationSeconds": 600 } },
            ] } }));
        }
        for volume in wrong {
            let found = files(&volume);
            assert!(matches!(found, Err(StartProblem::Permanent(_))), "{volume}: {found:?}");
        }
    }
}
