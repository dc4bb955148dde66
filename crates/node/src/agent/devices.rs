//! GPUs: found on the machine, handed out to containers, and shown to their programs.
//!
//! Which container has which device is a file in the folder of its pod, so it outlives the agent. A
//! device is free if no pod on the machine has it, except pods that have ended for good: there is
//! nothing to release that could be missed.

mod found;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::command::{Env, set, value};
use crate::state::{self, PodDir};

pub use self::found::Drivers;

const NVIDIA: &str = "nvidia.com/gpu";
const AMD: &str = "amd.com/gpu";
/// The resources that are handed out one by one, and the variable of each that shows them to a
/// program. HIP reads its own variable after that of ROCr, whose devices it counts again from 0.
const RESOURCES: [(&str, &str); 2] =
    [(NVIDIA, "CUDA_VISIBLE_DEVICES"), (AMD, "ROCR_VISIBLE_DEVICES")];
/// Read by programs and libraries that follow NVIDIA's container toolkit.
const OF_TOOLKIT: &str = "NVIDIA_VISIBLE_DEVICES";
const ORDER: &str = "CUDA_DEVICE_ORDER";

/// The most devices of a resource, since each is chosen by itself.
const MAX_DEVICES: i64 = 1024;

/// Where the devices of a machine come from.
pub trait DeviceSource: fmt::Debug + Send + Sync {
    /// The ids of the devices by the name of their resource, in a fixed order. A program finds a
    /// device by its id.
    fn find(&self) -> BTreeMap<String, Vec<String>>;
}

/// The ids of devices by the name of their resource.
pub(super) type Assigned = BTreeMap<String, Vec<String>>;

/// The devices of a pod: the content of its file.
pub(super) type OfPod = BTreeMap<String, OfContainer>;

/// The devices of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OfContainer {
    /// Init containers have ended before the others start, which get the same devices.
    #[serde(default)]
    init: bool,
    pub(super) devices: Assigned,
}

/// The devices of this machine.
#[derive(Debug)]
pub(super) struct Devices {
    state_dir: PathBuf,
    found: Assigned,
    /// How many there are; more than were found if the user says so.
    amounts: BTreeMap<String, i64>,
    /// Held while devices are chosen.
    choosing: Mutex<()>,
    /// Uids of pods that have ended for good. Held for a lookup.
    ended: Mutex<HashSet<String>>,
}

/// The container that gets devices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receiver<'a> {
    pub(super) pod: &'a PodDir,
    pub(super) container: &'a str,
    pub(super) init: bool,
}

/// The devices of a pod, by container.
pub(super) fn of_pod(pod: &PodDir) -> OfPod {
    state::read_json(&pod.devices()).unwrap_or_default()
}

impl Devices {
    /// The devices of a source. Configured amounts replace the numbers that were found.
    pub(super) fn new(
        state_dir: &Path,
        source: &dyn DeviceSource,
        configured: &BTreeMap<String, i64>,
    ) -> Self {
        let found = source.find();
        let count = |ids: &Vec<String>| i64::try_from(ids.len()).unwrap_or(i64::MAX);
        let mut amounts: BTreeMap<String, i64> = found
            .iter()
            .filter(|(_, ids)| !ids.is_empty())
            .map(|(name, ids)| (name.clone(), count(ids)))
            .collect();
        amounts.extend(configured.clone());
        for (resource, _) in RESOURCES {
            if let Some(amount) = amounts.get_mut(resource).filter(|amount| **amount > MAX_DEVICES)
            {
                tracing::warn!(resource, amount, "a node hands out at most {MAX_DEVICES} devices");
                *amount = MAX_DEVICES;
            }
        }
        Self {
            state_dir: state_dir.to_owned(),
            found,
            amounts,
            choosing: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// The extended resources of the node.
    pub(super) const fn amounts(&self) -> &BTreeMap<String, i64> {
        &self.amounts
    }

    /// Whether there is a device that is handed out.
    pub(super) fn exist(&self) -> bool {
        RESOURCES.iter().any(|(resource, _)| self.amount(resource) > 0)
    }

    /// The pod has ended for good, so its devices are free.
    pub(super) fn pod_ended(&self, uid: &str) {
        self.ended.lock().insert(uid.to_owned());
    }

    /// The pod is removed.
    pub(super) fn pod_removed(&self, uid: &str) {
        self.ended.lock().remove(uid);
    }

    /// Hands out devices to a container, or finds those that it got before. Reads the files of all
    /// pods if it requests any.
    ///
    /// # Errors
    /// When not enough devices are free, or the file cannot be written.
    pub(super) fn assign(
        &self,
        receiver: Receiver<'_>,
        requested: impl Fn(&str) -> i64,
    ) -> io::Result<Assigned> {
        let wanted: Vec<(&str, i64)> = RESOURCES
            .iter()
            .map(|(resource, _)| (*resource, requested(resource)))
            .filter(|(_, count)| *count > 0)
            .collect();
        if wanted.is_empty() {
            return Ok(Assigned::new());
        }
        let _choosing = self.choosing.lock();
        let mut own = of_pod(receiver.pod);
        if let Some(known) = own.get(receiver.container)
            && wanted.iter().all(|(resource, count)| {
                i64::try_from(known.devices.get(*resource).map_or(0, Vec::len)) == Ok(*count)
            })
        {
            return Ok(known.devices.clone());
        }
        let others = self.in_use(receiver.pod)?;
        let mut devices = Assigned::new();
        for (resource, count) in wanted {
            let chosen = self.choose(receiver, &own, &others, resource, count)?;
            devices.insert(resource.to_owned(), chosen);
        }
        let of_container = OfContainer { init: receiver.init, devices: devices.clone() };
        own.insert(receiver.container.to_owned(), of_container);
        state::write_json(&receiver.pod.devices(), &own)?;
        Ok(devices)
    }

    fn choose(
        &self,
        receiver: Receiver<'_>,
        own: &OfPod,
        others: &BTreeSet<(String, String)>,
        resource: &str,
        count: i64,
    ) -> io::Result<Vec<String>> {
        let in_pod = |runs_now: bool| {
            let containers = own.iter().filter(move |(name, one)| {
                *name != receiver.container && (!runs_now || !one.init && !receiver.init)
            });
            containers.filter_map(|(_, one)| one.devices.get(resource)).flatten()
        };
        let taken: BTreeSet<&String> = in_pod(true).collect();
        // Those of the pod's other containers first, so that it has no more than it requests.
        let first: Vec<String> = in_pod(false).cloned().collect();
        let amount = self.amount(resource);
        let mut chosen: Vec<String> = Vec::new();
        for id in first.into_iter().chain((0..amount).map(|index| self.id(resource, index))) {
            if i64::try_from(chosen.len()) == Ok(count) {
                break;
            }
            let is_free =
                !taken.contains(&id) && !others.contains(&(resource.to_owned(), id.clone()));
            if is_free && !chosen.contains(&id) {
                chosen.push(id);
            }
        }
        if i64::try_from(chosen.len()) == Ok(count) {
            return Ok(chosen);
        }
        Err(io::Error::other(format!(
            "the node has {} free of {amount} {resource}, and the container requests {count}",
            chosen.len()
        )))
    }

    /// The devices of all other pods that have not ended.
    fn in_use(&self, pod: &PodDir) -> io::Result<BTreeSet<(String, String)>> {
        let ended = self.ended.lock().clone();
        let mut used = BTreeSet::new();
        for other in PodDir::all(&self.state_dir)? {
            let uid = other.path().file_name().and_then(|uid| uid.to_str()).unwrap_or_default();
            if other == *pod || ended.contains(uid) {
                continue;
            }
            for of_container in of_pod(&other).into_values() {
                for (resource, ids) in of_container.devices {
                    used.extend(ids.into_iter().map(|id| (resource.clone(), id)));
                }
            }
        }
        Ok(used)
    }

    fn amount(&self, resource: &str) -> i64 {
        self.amounts.get(resource).copied().unwrap_or_default()
    }

    /// The id of a device. One that was not found has its number.
    fn id(&self, resource: &str, index: i64) -> String {
        let found =
            usize::try_from(index).ok().and_then(|index| self.found.get(resource)?.get(index));
        found.cloned().unwrap_or_else(|| index.to_string())
    }

    /// Shows a program its devices, and none of the others. Where it got none, a variable that the
    /// container sets itself is kept.
    pub(super) fn show(&self, env: &mut Env, assigned: &Assigned) {
        for (resource, variable) in RESOURCES {
            if self.amount(resource) <= 0 {
                continue;
            }
            let declared = value(env, variable).map(str::to_owned);
            let Some(ids) = assigned.get(resource).filter(|ids| !ids.is_empty()) else {
                set_default(env, variable, "");
                if resource == NVIDIA {
                    set_default(env, OF_TOOLKIT, "void");
                }
                continue;
            };
            let shown = declared.as_deref().and_then(|declared| selected(declared, ids));
            let shown = shown.unwrap_or_else(|| ids.clone()).join(",");
            set(env, variable.to_owned(), shown);
            if resource == NVIDIA {
                set(env, OF_TOOLKIT.to_owned(), ids.join(","));
                // Numbers are those of the driver, not by speed.
                set_default(env, ORDER, "PCI_BUS_ID");
            }
        }
    }
}

fn set_default(env: &mut Env, name: &str, text: &str) {
    if value(env, name).is_none() {
        set(env, name.to_owned(), text.to_owned());
    }
}

/// The devices that a container selects among its own by their numbers, as it would in a machine
/// that has no others.
fn selected(declared: &str, ids: &[String]) -> Option<Vec<String>> {
    let number = |text: &str| ids.get(text.trim().parse::<usize>().ok()?).cloned();
    declared.split(',').map(number).collect()
}

#[cfg(test)]
mod tests;
