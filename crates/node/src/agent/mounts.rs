//! The mounts of a container: its volumes, made real, at the paths it wants.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume};

use super::sources::{Problem, Sources};
use crate::{runtime::Sandbox, state::Bind, volumes};

/// Makes the volumes that a container mounts and lists its bind mounts.
pub(super) fn binds(
    pod: &Pod,
    container: &Container,
    sandbox: &Sandbox,
    sources: &Sources,
    permitted: bool,
) -> Result<Vec<Bind>, Problem> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut binds = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        if !permitted {
            let what =
                format!("volume {:?} cannot be mounted: mounts are not permitted here", mount.name);
            return Err(Problem::Never(what));
        }
        let volume = volumes
            .iter()
            .find(|volume| volume.name == mount.name)
            .ok_or_else(|| Problem::Never(format!("there is no volume {:?}", mount.name)))?;
        let failed =
            |error| Problem::NotYet(format!("cannot make volume {:?}: {error}", mount.name));
        let mut source = make(volume, sandbox, sources)?;
        if let Some(path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
            source = volumes::inside(&source, path).map_err(failed)?;
            if !source.exists() {
                std::fs::create_dir_all(&source).map_err(failed)?;
            }
        }
        binds.push(Bind {
            source,
            target: Path::new("/").join(&mount.mount_path),
            read_only: mount.read_only.unwrap_or_default(),
        });
    }
    Ok(binds)
}

fn make(volume: &Volume, sandbox: &Sandbox, sources: &Sources) -> Result<PathBuf, Problem> {
    let name = &volume.name;
    let failed = |error| Problem::NotYet(format!("cannot make volume {name:?}: {error}"));
    let pod = sandbox.dir().path();
    if let Some(source) = &volume.empty_dir {
        let in_memory = source.medium.as_deref() == Some("Memory");
        return volumes::empty_dir(pod, &sandbox.record().uid, name, in_memory).map_err(failed);
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
        return Err(Problem::Never(format!(
            "volume {name:?} is of a kind that the process runtime does not have (it has emptyDir, hostPath, configMap and secret)"
        )));
    };
    let empty = BTreeMap::new();
    let files = chosen(data.unwrap_or(&empty), items.as_deref(), mode);
    volumes::files(pod, name, &files).map_err(failed)
}

fn chosen<'a>(
    data: &'a BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
) -> BTreeMap<String, (&'a [u8], u32)> {
    let mode_of =
        |own: Option<i32>| own.or(mode).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
    match items {
        Some(items) => items
            .iter()
            .filter_map(|item| {
                Some((item.path.clone(), (data.get(&item.key)?.as_slice(), mode_of(item.mode))))
            })
            .collect(),
        None => data
            .iter()
            .map(|(key, bytes)| (key.clone(), (bytes.as_slice(), mode_of(None))))
            .collect(),
    }
}

fn host_path(path: &str, kind: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(Problem::Never(format!("hostPath {path:?} is not absolute")));
    }
    if !path.exists() {
        let made = match kind {
            "DirectoryOrCreate" => std::fs::create_dir_all(&path),
            "FileOrCreate" => std::fs::File::create(&path).map(drop),
            _ => return Err(Problem::NotYet(format!("hostPath {path:?} does not exist"))),
        };
        made.map_err(|error| Problem::NotYet(format!("cannot make hostPath {path:?}: {error}")))?;
    }
    Ok(path)
}
