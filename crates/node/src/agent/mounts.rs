//! The mounts of a container: creates its volumes and lists its bind mounts.

mod host_path;
mod payload;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use mxjob_machinery::quantity::Quantity;

use super::{
    command::{Env, value},
    fields::{FieldFacts, volumes_of},
    service_account,
    sources::{Sources, StartProblem},
};
use crate::{
    expand::expand,
    runtime::Sandbox,
    state::{Bind, DnsLabel, NameError, RelativePath},
    volumes::{self, Files, Medium},
};

/// A pod with its volumes.
#[derive(Debug, Clone, Copy)]
pub(super) struct PodVolumes<'a> {
    pub(super) pod: &'a Pod,
    pub(super) sandbox: &'a Sandbox,
    pub(super) sources: &'a Sources,
    pub(super) facts: &'a FieldFacts<'a>,
    /// The volume of the service account, for containers that mount nothing in its place.
    pub(super) account_files: Option<&'a service_account::AccountFiles>,
    /// Why the node may not mount, if so.
    pub(super) forbidden: Option<&'a str>,
}

/// The source of a bind mount.
struct Source {
    path: PathBuf,
    read_only: bool,
    /// The names of its files, where only those can be a `subPath`.
    names: Option<BTreeSet<String>>,
}

/// A volume that cannot be mounted yet, with the kubelet's message.
fn not_mounted(volume: &str, why: impl std::fmt::Display) -> StartProblem {
    StartProblem::Volume(format!("MountVolume.SetUp failed for volume {volume:?} : {why}"))
}

impl PodVolumes<'_> {
    /// Creates the volumes that a container mounts, and returns its bind mounts. `env` has the
    /// variables of the container.
    pub(super) fn binds(
        &self,
        container: &Container,
        env: &Env,
    ) -> Result<Vec<Bind>, StartProblem> {
        let mut binds = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            if let Some(why) = self.forbidden {
                let what =
                    format!("cannot mount volume {:?}: {why}; run mxjob as root", mount.name);
                return Err(StartProblem::Permanent(what));
            }
            let volumes = volumes_of(self.pod);
            let volume = volumes.iter().find(|volume| volume.name == mount.name);
            let volume = volume.ok_or_else(|| {
                StartProblem::Permanent(format!("the pod has no volume {:?}", mount.name))
            })?;
            let sub_path = sub_path(mount, env)?;
            let source = self.create(volume)?;
            if let (Some(names), Some(sub_path)) = (&source.names, &sub_path)
                && sub_path.items().first().is_some_and(|first| !names.contains(first))
            {
                let why = format!("it has no file for the subPath {:?}", sub_path.to_string());
                return Err(not_mounted(&volume.name, why));
            }
            binds.push(Bind {
                source: source.path,
                sub_path,
                target: Path::new("/").join(&mount.mount_path),
                read_only: source.read_only || mount.read_only.unwrap_or_default(),
            });
        }
        if let Some(files) = self.account_files
            && self.forbidden.is_none()
            && !binds.iter().any(hides_account)
        {
            let name = service_account::VOLUME.parse();
            let name =
                name.map_err(|error: NameError| not_mounted(service_account::VOLUME, error))?;
            let (path, _) = self.write(&name, Medium::Memory(None), &files.files())?;
            let target = service_account::MOUNT_PATH.into();
            binds.push(Bind { source: path, sub_path: None, target, read_only: true });
        }
        Ok(binds)
    }

    /// Rewrites the files of the volumes whose content has changed.
    pub(super) fn refresh(&self) -> Result<(), StartProblem> {
        let mut result = Ok(());
        for volume in volumes_of(self.pod) {
            let refreshed = match payload::of(volume, self.pod, self.sources, self.facts) {
                Ok(None) => continue,
                Ok(Some((medium, files))) => {
                    label(volume).and_then(|name| self.write(&name, medium, &files).map(|_| ()))
                }
                Err(problem) => Err(problem),
            };
            result = result.and(refreshed);
        }
        if let (Some(files), Ok(name)) = (self.account_files, service_account::VOLUME.parse()) {
            let written = self.write(&name, Medium::Memory(None), &files.files()).map(|_| ());
            result = result.and(written);
        }
        result
    }

    fn create(&self, volume: &Volume) -> Result<Source, StartProblem> {
        let name = label(volume)?;
        let plain = |path| Source { path, read_only: false, names: None };
        if let Some(source) = &volume.empty_dir {
            let limit = source.size_limit.as_ref().and_then(|limit| size(&limit.0));
            let medium = match source.medium.as_deref().unwrap_or_default() {
                "" => Medium::Disk,
                "Memory" => Medium::Memory(limit),
                other => {
                    return Err(StartProblem::Permanent(format!(
                        "volume {:?}: the node does not support the medium {other:?}",
                        volume.name
                    )));
                }
            };
            let (dir, uid) = (self.sandbox.dir(), &self.sandbox.record().uid);
            let created = volumes::empty_dir(dir, uid, &name, medium);
            return created.map(plain).map_err(|error| not_mounted(&volume.name, error));
        }
        if let Some(source) = &volume.host_path {
            let path = PathBuf::from(&source.path);
            host_path::check(&volume.name, &path, source.type_.as_deref().unwrap_or_default())?;
            return Ok(plain(path));
        }
        if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
            let folder = self.sources.claim(&volume.name);
            let folder = folder.map_err(|why| not_mounted(&volume.name, why))?;
            host_path::check(&volume.name, &folder.path, &folder.kind)?;
            let claim = volume.persistent_volume_claim.as_ref();
            let read_only = claim.and_then(|claim| claim.read_only).unwrap_or_default();
            return Ok(Source { path: folder.path.clone(), read_only, names: None });
        }
        match payload::of(volume, self.pod, self.sources, self.facts)? {
            Some((medium, files)) => {
                let (path, _) = self.write(&name, medium, &files)?;
                let first = |path: &RelativePath| path.items().first().cloned();
                let names = Some(files.keys().filter_map(first).collect());
                Ok(Source { path, read_only: true, names })
            }
            None => Err(StartProblem::Permanent(format!(
                "the process runtime does not support the type of volume {:?}; it supports emptyDir, hostPath, configMap, secret, downwardAPI, projected, persistentVolumeClaim and ephemeral",
                volume.name
            ))),
        }
    }

    fn write(
        &self,
        name: &DnsLabel,
        medium: Medium,
        files: &Files<'_>,
    ) -> Result<(PathBuf, bool), StartProblem> {
        let (dir, uid) = (self.sandbox.dir(), &self.sandbox.record().uid);
        volumes::files(dir, uid, name, medium, files)
            .map_err(|error| not_mounted(name.as_str(), error))
    }
}

/// Whether a mount takes the place of the account's, or is a read-only folder around it: a pod
/// should not fail for a volume that it did not ask for.
fn hides_account(bind: &Bind) -> bool {
    let path = Path::new(service_account::MOUNT_PATH);
    bind.target == path || bind.read_only && path.starts_with(&bind.target)
}

fn label(volume: &Volume) -> Result<DnsLabel, StartProblem> {
    let failed =
        |error: NameError| StartProblem::Permanent(format!("volume {:?}: {error}", volume.name));
    volume.name.parse().map_err(failed)
}

/// A size in bytes; `None` for one that is no limit.
pub(super) fn size(text: &str) -> Option<u64> {
    let bytes = u64::try_from(Quantity::parse(text).ok()?.value()).ok()?;
    Some(bytes).filter(|bytes| *bytes > 0)
}

/// The part of a volume that is mounted. The shim resolves it, safe from changes by containers.
fn sub_path(mount: &VolumeMount, env: &Env) -> Result<Option<RelativePath>, StartProblem> {
    let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    match (given(&mount.sub_path), given(&mount.sub_path_expr)) {
        (None, None) => Ok(None),
        (Some(path), None) => path.parse().map(Some).map_err(|error: NameError| {
            StartProblem::Permanent(format!("subPath of volume {:?}: {error}", mount.name))
        }),
        // The variables may come from other objects, and become valid later.
        (None, Some(expression)) => {
            let failed = |why| {
                let text = format!("subPathExpr {expression:?} of volume {:?}: {why}", mount.name);
                StartProblem::Retryable(text)
            };
            let path = expand_all(&expression, env).map_err(&failed)?;
            path.parse().map(Some).map_err(|error: NameError| failed(error.to_string()))
        }
        (Some(_), Some(_)) => Err(StartProblem::Permanent(format!(
            "volume {:?}: subPathExpr and subPath are mutually exclusive",
            mount.name
        ))),
    }
}

/// Expands an expression. Every variable must have a value: otherwise several pods would share one
/// folder.
fn expand_all(expression: &str, env: &Env) -> Result<String, String> {
    let missing = RefCell::new(BTreeSet::new());
    let path = expand(expression, |name| {
        let found = value(env, name).filter(|text| !text.is_empty());
        if found.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        found
    });
    let missing = missing.into_inner();
    if missing.is_empty() {
        return Ok(path);
    }
    Err(format!("missing value for {}", missing.into_iter().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mount(more: &serde_json::Value) -> VolumeMount {
        let mut mount = json!({ "name": "v", "mountPath": "/m" });
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(mount).unwrap()
    }

    fn path(more: &serde_json::Value) -> Result<Option<String>, StartProblem> {
        let env =
            [("POD", "w-0"), ("EMPTY", ""), ("UP", "../w-1"), ("ABS", "/etc"), ("NUL", "a\0")]
                .map(|(name, text)| (name.to_owned(), text.to_owned()));
        sub_path(&mount(more), &env.to_vec()).map(|path| path.map(|path| path.to_string()))
    }

    #[test]
    fn only_expressions_of_sub_paths_are_expanded() {
        for (mount, expect) in [
            (json!({}), None),
            (json!({ "subPath": "", "subPathExpr": "" }), None),
            (json!({ "subPath": "a/$(POD)" }), Some("a/$(POD)")),
            (json!({ "subPathExpr": "a/$(POD)" }), Some("a/w-0")),
            (json!({ "subPathExpr": "$$(NONE)" }), Some("$(NONE)")),
            (json!({ "subPathExpr": "plain" }), Some("plain")),
        ] {
            assert_eq!(path(&mount).unwrap().as_deref(), expect, "{mount}");
        }
    }

    #[test]
    fn an_expression_waits_for_a_valid_value_and_a_plain_path_fails() {
        let not_yet = |expression: &str| match path(&json!({ "subPathExpr": expression })) {
            Err(StartProblem::Retryable(message)) => message,
            other => panic!("{expression}: {other:?}"),
        };
        assert_eq!(
            not_yet("$(POD)/$(B)/$(A)/$(EMPTY)"),
            "subPathExpr \"$(POD)/$(B)/$(A)/$(EMPTY)\" of volume \"v\": missing value for A, B, EMPTY"
        );
        for (expression, rule) in [
            ("$(UP)", "must not contain '..'"),
            ("$(ABS)", "must be a relative path"),
            ("$(NUL)", "must not contain NUL"),
        ] {
            assert!(not_yet(expression).ends_with(rule), "{expression}");
        }
        for mount in [
            json!({ "subPath": ".." }),
            json!({ "subPath": "/a" }),
            json!({ "subPath": "a\u{0}" }),
            json!({ "subPath": "a", "subPathExpr": "b" }),
        ] {
            assert!(matches!(path(&mount), Err(StartProblem::Permanent(_))), "{mount}");
        }
    }
}
