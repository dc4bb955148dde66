//! The mounts of a container: creates its volumes and lists its bind mounts.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume, VolumeMount};

use super::{
    command::{CommandFacts, Env, value},
    sources::{Sources, StartProblem},
};
use crate::{
    expand::expand,
    runtime::Sandbox,
    state::{Bind, DnsLabel, NameError, RelativePath},
    volumes,
};

/// Creates the volumes that a container mounts, and returns its bind mounts. `env` has the
/// variables of the pod.
pub(super) fn binds(
    pod: &Pod,
    container: &Container,
    sandbox: &Sandbox,
    facts: &CommandFacts<'_>,
    env: &Env,
    permitted: bool,
) -> Result<Vec<Bind>, StartProblem> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut binds = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        if !permitted {
            let what = format!(
                "cannot mount volume {:?}: this node has no permission to mount; run it as root",
                mount.name
            );
            return Err(StartProblem::Permanent(what));
        }
        let volume = volumes.iter().find(|volume| volume.name == mount.name).ok_or_else(|| {
            StartProblem::Permanent(format!("the pod has no volume {:?}", mount.name))
        })?;
        let sub_path = sub_path(mount, env)?;
        binds.push(Bind {
            source: create(volume, sandbox, facts.sources)?,
            sub_path,
            target: Path::new("/").join(&mount.mount_path),
            read_only: mount.read_only.unwrap_or_default(),
        });
    }
    Ok(binds)
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

fn create(volume: &Volume, sandbox: &Sandbox, sources: &Sources) -> Result<PathBuf, StartProblem> {
    let never =
        |error: NameError| StartProblem::Permanent(format!("volume {:?}: {error}", volume.name));
    let name: DnsLabel = volume.name.parse().map_err(never)?;
    let failed =
        |error| StartProblem::Retryable(format!("cannot create volume {:?}: {error}", volume.name));
    if let Some(source) = &volume.empty_dir {
        let in_memory = source.medium.as_deref() == Some("Memory");
        let uid = &sandbox.record().uid;
        return volumes::empty_dir(sandbox.dir(), uid, &name, in_memory).map_err(failed);
    }
    if let Some(source) = &volume.host_path {
        return host_path(&source.path, source.type_.as_deref().unwrap_or_default());
    }
    let (data, items, mode) = if let Some(source) = &volume.config_map {
        (sources.config_map(&source.name, source.optional)?, &source.items, source.default_mode)
    } else if let Some(source) = &volume.secret {
        let secret = source.secret_name.as_deref().unwrap_or_default();
        (sources.secret(secret, source.optional)?, &source.items, source.default_mode)
    } else {
        return Err(StartProblem::Permanent(format!(
            "the process runtime does not support the type of volume {:?}; it supports emptyDir, hostPath, configMap and secret",
            volume.name
        )));
    };
    let empty = BTreeMap::new();
    let files = chosen(data.unwrap_or(&empty), items.as_deref(), mode).map_err(never)?;
    volumes::files(sandbox.dir(), &name, &files).map_err(failed)
}

fn chosen<'a>(
    data: &'a BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
) -> Result<volumes::Files<'a>, NameError> {
    let mode_of =
        |own: Option<i32>| own.or(mode).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
    match items {
        Some(items) => items
            .iter()
            .filter_map(|item| Some((item, data.get(&item.key)?.as_slice())))
            .map(|(item, bytes)| {
                Ok((RelativePath::below(&item.path)?, (bytes, mode_of(item.mode))))
            })
            .collect(),
        None => data
            .iter()
            .map(|(key, bytes)| Ok((RelativePath::file(key)?, (bytes.as_slice(), mode_of(None)))))
            .collect(),
    }
}

fn host_path(path: &str, kind: &str) -> Result<PathBuf, StartProblem> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(StartProblem::Permanent(format!("hostPath {path:?} is not absolute")));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(StartProblem::Permanent(format!("hostPath {path:?} must not contain '..'")));
    }
    if !path.exists() {
        let created = match kind {
            "DirectoryOrCreate" => mxjob_files::public_dir(&path),
            "FileOrCreate" => std::fs::File::create(&path)
                .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o644))),
            _ => return Err(StartProblem::Retryable(format!("hostPath {path:?} does not exist"))),
        };
        created.map_err(|error| {
            StartProblem::Retryable(format!("cannot create hostPath {path:?}: {error}"))
        })?;
    }
    Ok(path)
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

    #[test]
    fn keys_and_paths_that_leave_the_volume_are_invalid() {
        let data = |key: &str| BTreeMap::from([(key.to_owned(), b"x".to_vec())]);
        let item = |path: &str| {
            [KeyToPath { key: "k".to_owned(), path: path.to_owned(), ..KeyToPath::default() }]
        };
        for evil in ["../x", "/x", "..", "a/../../x"] {
            assert!(chosen(&data(evil), None, None).is_err(), "{evil}");
            assert!(chosen(&data("k"), Some(&item(evil)), None).is_err(), "{evil}");
        }
        assert!(chosen(&data("a/b"), None, None).is_err());
        let data = data("k");
        let files = chosen(&data, Some(&item("a/b")), Some(0o600)).unwrap();
        assert_eq!(files.into_values().next(), Some((&b"x"[..], 0o600)));
    }
}
