use super::*;
use crate::state::PodUid;

#[derive(Debug)]
struct Gpus(usize);

impl DeviceSource for Gpus {
    fn find(&self) -> BTreeMap<String, Vec<String>> {
        [(NVIDIA.to_owned(), (0..self.0).map(|index| format!("GPU-{index}")).collect())].into()
    }
}

/// A folder of pods, and the devices of a machine.
struct Machine {
    dir: tempfile::TempDir,
    devices: Devices,
}

impl Machine {
    fn new(gpus: usize, configured: &[(&str, i64)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let devices = devices(&dir, gpus, configured);
        Self { dir, devices }
    }

    /// Another agent with the same folder.
    fn restart(&mut self, gpus: usize) {
        self.devices = devices(&self.dir, gpus, &[]);
    }

    fn pod(&self, name: &str) -> PodDir {
        let uid: PodUid = name.parse().unwrap();
        let pod = PodDir::new(self.dir.path(), &uid);
        std::fs::create_dir_all(pod.path()).unwrap();
        pod
    }

    fn assign(&self, pod: &str, container: &str, init: bool, count: i64) -> Result<String, String> {
        let pod = self.pod(pod);
        let receiver = Receiver { pod: &pod, container, init };
        let assigned = self
            .devices
            .assign(receiver, |resource| if resource == NVIDIA { count } else { 0 })
            .map_err(|error| error.to_string())?;
        Ok(assigned.get(NVIDIA).map(|ids| ids.join(",")).unwrap_or_default())
    }
}

fn devices(dir: &tempfile::TempDir, gpus: usize, configured: &[(&str, i64)]) -> Devices {
    let configured =
        configured.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
    Devices::new(dir.path(), &Gpus(gpus), &configured)
}

#[test]
fn no_two_pods_have_the_same_device() {
    let mut machine = Machine::new(3, &[]);
    assert_eq!(machine.assign("a", "c", false, 1), Ok("GPU-0".to_owned()));
    assert_eq!(machine.assign("b", "c", false, 2), Ok("GPU-1,GPU-2".to_owned()));
    let full = "the node has 0 free of 3 nvidia.com/gpu, and the container requests 1";
    assert_eq!(machine.assign("d", "c", false, 1), Err(full.to_owned()));
    assert_eq!(machine.assign("d", "c", false, 0), Ok(String::new()));
    machine.restart(3);
    assert_eq!(machine.assign("b", "c", false, 2), Ok("GPU-1,GPU-2".to_owned()), "a restart");
    assert_eq!(machine.assign("d", "c", false, 1), Err(full.to_owned()), "after a restart");
    machine.devices.pod_ended("b");
    assert_eq!(machine.assign("d", "c", false, 1), Ok("GPU-1".to_owned()), "an ended pod");
    std::fs::remove_dir_all(machine.pod("a").path()).unwrap();
    assert_eq!(machine.assign("e", "c", false, 1), Ok("GPU-0".to_owned()), "a removed pod");
}

#[test]
fn containers_of_a_pod_share_nothing_but_the_devices_of_its_init_containers() {
    let machine = Machine::new(4, &[]);
    assert_eq!(machine.assign("a", "first", true, 3), Ok("GPU-0,GPU-1,GPU-2".to_owned()));
    assert_eq!(machine.assign("a", "second", true, 1), Ok("GPU-0".to_owned()));
    assert_eq!(machine.assign("a", "c", false, 1), Ok("GPU-0".to_owned()));
    assert_eq!(machine.assign("a", "d", false, 2), Ok("GPU-1,GPU-2".to_owned()));
    assert_eq!(machine.assign("b", "c", false, 1), Ok("GPU-3".to_owned()));
}

#[test]
fn configured_amounts_replace_the_number_that_was_found() {
    let machine = Machine::new(2, &[(NVIDIA, 3), ("example.com/chip", 7)]);
    assert_eq!(machine.assign("a", "c", false, 3), Ok("GPU-0,GPU-1,2".to_owned()));
    assert_eq!(machine.devices.amounts().get("example.com/chip"), Some(&7));
    let many = Machine::new(2, &[(NVIDIA, i64::MAX)]);
    assert_eq!(many.devices.amounts().get(NVIDIA), Some(&MAX_DEVICES));
    assert!(many.assign("a", "c", false, i64::MAX).is_err());
    let hidden = Machine::new(2, &[(NVIDIA, 0)]);
    assert!(!hidden.devices.exist());
    assert!(hidden.assign("a", "c", false, 1).is_err());
}

#[test]
fn a_program_sees_its_own_devices_only() {
    let shown = |machine: &Machine, declared: &[(&str, &str)], ids: &[&str]| {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let mut env: Env = declared.iter().map(pair).collect();
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        machine.devices.show(&mut env, &[(NVIDIA.to_owned(), ids)].into());
        value(&env, "CUDA_VISIBLE_DEVICES").map(str::to_owned)
    };
    let machine = Machine::new(4, &[]);
    for (declared, ids, expect) in [
        (vec![], vec![], Some("")),
        (vec![], vec!["GPU-1", "GPU-2"], Some("GPU-1,GPU-2")),
        (vec![("CUDA_VISIBLE_DEVICES", "1")], vec!["GPU-1", "GPU-2"], Some("GPU-2")),
        (vec![("CUDA_VISIBLE_DEVICES", "GPU-3")], vec!["GPU-1"], Some("GPU-1")),
        (vec![("CUDA_VISIBLE_DEVICES", "3")], vec![], Some("3")),
    ] {
        assert_eq!(shown(&machine, &declared, &ids).as_deref(), expect, "{declared:?} {ids:?}");
    }
    assert_eq!(shown(&Machine::new(0, &[]), &[], &[]), None, "a machine without GPUs");
}
