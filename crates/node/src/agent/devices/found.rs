//! The GPUs that the drivers of this machine list.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{AMD, DeviceSource, NVIDIA};

/// The GPUs of this machine: what its drivers list in `/dev`, `/proc` and `/sys`.
#[derive(Debug, Clone)]
pub struct Drivers {
    root: PathBuf,
}

impl Default for Drivers {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl DeviceSource for Drivers {
    fn find(&self) -> BTreeMap<String, Vec<String>> {
        [(NVIDIA, nvidia(&self.root)), (AMD, amd(&self.root))]
            .into_iter()
            .filter(|(_, ids)| !ids.is_empty())
            .map(|(resource, ids)| (resource.to_owned(), ids))
            .collect()
    }
}

/// A GPU in the list of NVIDIA's driver.
struct Listed {
    minor: Option<u32>,
    uuid: Option<String>,
}

/// GPUs by their UUID, else by their number.
fn nvidia(root: &Path) -> Vec<String> {
    let number = |name: String| name.strip_prefix("nvidia")?.parse::<u32>().ok();
    let mut minors: Vec<u32> = names(&root.join("dev")).into_iter().filter_map(number).collect();
    minors.sort_unstable();
    let folder = root.join("proc/driver/nvidia/gpus");
    let listed: Vec<Listed> =
        names(&folder).iter().map(|gpu| read_listed(&folder.join(gpu))).collect();
    if minors.is_empty() {
        // In a container the device files may appear later than the driver's own list.
        let id = |(index, gpu): (usize, Listed)| gpu.uuid.unwrap_or_else(|| index.to_string());
        return listed.into_iter().enumerate().map(id).collect();
    }
    let uuid = |minor: u32| listed.iter().find(|gpu| gpu.minor == Some(minor))?.uuid.clone();
    minors.into_iter().map(|minor| uuid(minor).unwrap_or_else(|| minor.to_string())).collect()
}

fn read_listed(gpu: &Path) -> Listed {
    let text = fs::read_to_string(gpu.join("information")).unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'))
            .map(str::trim)
    };
    // Before its first use a GPU has a UUID of question marks.
    let uuid = field("GPU UUID").filter(|uuid| uuid.starts_with("GPU-") && !uuid.contains('?'));
    Listed {
        minor: field("Device Minor").and_then(|minor| minor.parse().ok()),
        uuid: uuid.map(str::to_owned),
    }
}

/// GPUs by their number among the GPUs that AMD's driver lists, which lists CPUs, too.
fn amd(root: &Path) -> Vec<String> {
    let folder = root.join("sys/class/kfd/kfd/topology/nodes");
    let is_gpu = |node: &String| {
        let id = fs::read_to_string(folder.join(node).join("gpu_id")).unwrap_or_default();
        !matches!(id.trim(), "" | "0")
    };
    let gpus = names(&folder).into_iter().filter(is_gpu).count();
    (0..gpus).map(|index| index.to_string()).collect()
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(files: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Drivers { root: root.path().to_owned() }.find()
    }

    fn expect(resource: &str, ids: &[&str]) -> BTreeMap<String, Vec<String>> {
        [(resource.to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())].into()
    }

    #[test]
    fn gpus_are_those_that_drivers_list() {
        let info = |minor: &str, uuid: &str| {
            format!("Model: \t A100\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
        };
        let (first, second) = (info("0", "GPU-aa"), info("1", "GPU-??"));
        assert_eq!(find(&[("dev/null", "")]), BTreeMap::new());
        let files = [("dev/nvidia10", ""), ("dev/nvidia2", ""), ("dev/nvidiactl", "")];
        assert_eq!(find(&files), expect(NVIDIA, &["2", "10"]));
        let listed = [
            ("proc/driver/nvidia/gpus/0000:01/information", first.as_str()),
            ("proc/driver/nvidia/gpus/0000:02/information", second.as_str()),
        ];
        assert_eq!(find(&listed), expect(NVIDIA, &["GPU-aa", "1"]));
        let both = [listed[0], listed[1], ("dev/nvidia0", ""), ("dev/nvidia1", "")];
        assert_eq!(find(&both), expect(NVIDIA, &["GPU-aa", "1"]));
        let nodes = "sys/class/kfd/kfd/topology/nodes";
        let amd = [
            (format!("{nodes}/0/gpu_id"), "0\n"),
            (format!("{nodes}/1/gpu_id"), "4711\n"),
            (format!("{nodes}/2/gpu_id"), "4712\n"),
        ];
        let amd: Vec<(&str, &str)> = amd.iter().map(|(path, id)| (path.as_str(), *id)).collect();
        assert_eq!(find(&amd), expect(AMD, &["0", "1"]));
    }
}
