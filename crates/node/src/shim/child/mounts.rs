//! The mounts of a container.

use std::{os::fd::OwnedFd, path::Path};

use rustix::fs::CWD;

use super::{
    Failure,
    namespaces::separate,
    root::{Root, Tree},
    try_to,
};
use crate::{
    beneath, hosts,
    state::{Bind, Spec},
};

/// The path of the hosts file.
const HOSTS: &str = "/etc/hosts";

/// Gives this process its namespaces, with all mounts of the spec.
pub(super) fn set_up(spec: &Spec, hosts: &Path) -> Result<(), Failure> {
    try_to("create the namespaces", separate(spec.user_namespace))?;
    // All sources are found before the first mount, which may hide them. The outer mounts come
    // first, as in other container runtimes.
    let mut binds: Vec<&Bind> = spec.binds.iter().collect();
    binds.sort_by_key(|bind| bind.target.components().count());
    let trees = binds.iter().map(|bind| tree(bind)).collect::<Result<Vec<_>, _>>()?;
    let hosts = try_to("open the hosts file", Tree::open(CWD, hosts))?;

    let mut root = Root::new(&spec.cwd);
    if spec.security.read_only_root {
        try_to("make the root read-only", root.make_read_only())?;
    }
    for (bind, tree) in binds.iter().zip(&trees) {
        try_to(&what(bind), root.mount(tree, &bind.target))?;
    }
    // A volume in the place of the hosts file replaces it, as in Kubernetes.
    if !binds.iter().any(|bind| bind.target == Path::new(HOSTS)) {
        try_to("mount the hosts file", root.mount(&hosts, Path::new(HOSTS)))?;
    }
    try_to("make the mount points read-only", root.finish())?;
    // Programs that look up their own host name find the pod's address.
    let name = spec.host_name.as_deref().unwrap_or_else(|| hosts::host_name(&spec.pod));
    try_to("set the host name", rustix::system::sethostname(name.as_bytes()))
}

fn what(bind: &Bind) -> String {
    format!("mount {:?} at {:?}", bind.source, bind.target)
}

fn tree(bind: &Bind) -> Result<Tree, Failure> {
    let tree = match &bind.sub_path {
        None => Tree::open(CWD, &bind.source),
        Some(sub_path) => {
            let what = format!("prepare subPath {:?} of {:?}", sub_path.to_string(), bind.source);
            let part: OwnedFd = try_to(&what, beneath::open_or_make(&bind.source, sub_path))?;
            Tree::open(&part, Path::new(""))
        }
    };
    let tree = try_to(&what(bind), tree)?;
    if bind.read_only {
        try_to(&what(bind), tree.make_read_only())?;
    }
    Ok(tree)
}
