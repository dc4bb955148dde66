//! Crashes of the agent and the shim, and stopping without an agent.

use std::time::Duration;

use mxjob_node::{
    StopReport,
    runtime::{Attempt, Error, IsolationMode, Runtime, ShimCommand},
    state::{ExitReason, ExitRecord},
    stop_all, stop_all_after_agent,
};

use crate::{
    lifecycle::kill_shim,
    node::{Node, block_on, eventually, lines, lives, main, printed_pid, run, shell, start},
};

crate::tests!("recovery":
    a_restarted_agent_finds_its_running_containers,
    an_exit_without_an_agent_is_reported_later,
    output_is_logged_without_an_agent,
    a_lost_shim_ends_its_container_without_an_exit_code,
    a_shim_lost_without_an_agent_is_recorded_as_lost,
    a_recorded_end_never_changes,
    an_attempt_of_an_earlier_boot_is_lost,
    an_attempt_that_no_shim_took_can_be_started,
    two_agents_never_share_a_state_directory,
    stop_all_works_without_an_agent,
    stop_all_waits_for_an_agent_that_is_ending,
    stop_all_kills_the_processes_of_a_lost_shim,
    a_removed_pod_leaves_no_process_and_no_folder,
    a_full_disk_loses_only_log_lines,
    a_shim_uses_little_memory,
);

fn a_restarted_agent_finds_its_running_containers() {
    for mode in [IsolationMode::Auto, IsolationMode::Plain] {
        let mut node = Node::new(mode);
        block_on(async { drop(start(&node.pod("p"), shell("echo $$; exec sleep 1000"))) });
        node.restart();
        let pods = node.runtime().sandboxes().unwrap();
        let pod = pods.first().unwrap();
        assert_eq!((pods.len(), pod.record().name.as_str()), (1, "p"));
        block_on(async {
            let Attempt::Running(running) = pod.find(&main(), 0).unwrap() else {
                panic!("not found again")
            };
            assert!(running.started_at().is_some() && lives(printed_pid(pod, 0)));
            running.terminate(30).unwrap();
            assert_eq!(running.wait().await.unwrap().signal, Some(15));
        });
    }
}

fn an_exit_without_an_agent_is_reported_later() {
    let mut node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async { drop(start(&pod, shell("echo $$; sleep 0.2; exit 42"))) });
    node.runtime = None;
    let attempt = pod.dir().attempt(&main(), 0);
    drop(pod);
    eventually("the end of the program", || attempt.exit());
    node.restart();
    let pod = node.pod("p");
    let Attempt::Ended(exit) = pod.find(&main(), 0).unwrap() else { panic!("not ended") };
    assert_eq!(exit.code, Some(42));
}

fn output_is_logged_without_an_agent() {
    let mut node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let attempt = pod.dir().attempt(&main(), 0);
    let go = node.dir.path().join("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.01; done; echo printed", go.display());
    block_on(async { drop(start(&pod, shell(&script))) });
    drop(pod);
    node.runtime = None;
    std::fs::write(&go, "").unwrap();
    eventually("the end of the program", || attempt.exit());
    node.restart();
    assert_eq!(lines(&node.pod("p")), ["printed"]);
}

/// A program with a child in its own session; both print their process id.
const FAMILY: &str =
    "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.1; echo $$; exec sleep 1000";

fn a_lost_shim_ends_its_container_without_an_exit_code() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async {
        let running = start(&pod, shell(FAMILY));
        let family = [printed_pid(&pod, 0), printed_pid(&pod, 1)];
        kill_shim(running.dir().path());
        let exit = running.wait().await.unwrap();
        assert_eq!((exit.reason, exit.exit_code()), (ExitReason::ShimLost, None));
        assert!(exit.started_at.is_some());
        for pid in family {
            // Without cgroups only the program itself ends with the shim.
            assert!(!lives(pid) || pod.record().cgroup.is_none(), "{pid} lives");
        }
    });
}

fn a_shim_lost_without_an_agent_is_recorded_as_lost() {
    let mut node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async { drop(start(&pod, shell(FAMILY))) });
    let family = [printed_pid(&pod, 0), printed_pid(&pod, 1)];
    let dir = pod.dir().attempt(&main(), 0);
    drop(pod);
    node.runtime = None;
    kill_shim(dir.path());
    eventually("the end of the shim", || (!dir.is_locked()).then_some(()));
    node.restart();
    let pod = node.pod("p");
    let Attempt::Ended(exit) = pod.find(&main(), 0).unwrap() else { panic!("not ended") };
    assert_eq!(exit.reason, ExitReason::ShimLost);
    assert!(!lives(family[1]));
    assert!(!lives(family[0]) || pod.record().cgroup.is_none());
}

fn a_recorded_end_never_changes() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let exit = run(&pod, shell("exit 5"));
    let other = ExitRecord::lost(None, exit.finished_at);
    assert_eq!(pod.record_end(&main(), 0, &other).unwrap(), exit);
    assert!(matches!(pod.find(&main(), 0).unwrap(), Attempt::Ended(found) if found == exit));
}

fn an_attempt_of_an_earlier_boot_is_lost() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    run(&pod, shell("true"));
    // Makes it look like an attempt that a power failure ended.
    let dir = pod.dir().attempt(&main(), 0);
    std::fs::remove_file(dir.path().join("exit.json")).unwrap();
    let mut spec = dir.spec().unwrap();
    spec.boot_id = "another".to_owned();
    dir.write_spec(&spec).unwrap();
    let Attempt::Ended(exit) = pod.find(&main(), 0).unwrap() else { panic!("not ended") };
    assert_eq!(exit.reason, ExitReason::ShimLost);
}

fn an_attempt_that_no_shim_took_can_be_started() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    run(&pod, shell("true"));
    let dir = pod.dir().attempt(&main(), 0);
    for file in ["exit.json", "run.json", "log"] {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    assert!(matches!(pod.find(&main(), 0).unwrap(), Attempt::NotStarted));
    assert_eq!(run(&pod, shell("exit 6")).code, Some(6));
}

fn two_agents_never_share_a_state_directory() {
    let node = Node::new(IsolationMode::Auto);
    let shim = ShimCommand::current_exe().unwrap();
    let second = Runtime::open(node.dir.path(), shim, IsolationMode::Auto);
    assert!(matches!(second, Err(Error::InUse { .. })));
}

fn stop_all_works_without_an_agent() {
    for mode in [IsolationMode::Auto, IsolationMode::Plain] {
        let mut node = Node::new(mode);
        let mut pids = Vec::new();
        let mut folders = Vec::new();
        for name in ["a", "b"] {
            let pod = node.pod(name);
            block_on(async { drop(start(&pod, shell("echo $$; exec sleep 1000"))) });
            pids.push(printed_pid(&pod, 0));
            folders.extend(pod.record().cgroup.clone());
        }
        run(&node.pod("over"), shell("true"));
        node.runtime = None;
        let report = stop_all(node.dir.path(), Duration::from_secs(30)).unwrap();
        assert_eq!(report.stopped, ["ns/a", "ns/b"], "{mode:?}");
        assert!(report.alive.is_empty() && !pids.into_iter().any(lives));
        assert!(folders.iter().all(|folder| !folder.parent().unwrap().exists()), "{folders:?}");
        let again = stop_all(node.dir.path(), Duration::ZERO).unwrap();
        assert_eq!(again, StopReport::default());
        node.restart();
        let Attempt::Ended(exit) = node.pod("a").find(&main(), 0).unwrap() else {
            panic!("not ended")
        };
        assert_eq!(exit.exit_code(), Some(143));
    }
}

fn stop_all_waits_for_an_agent_that_is_ending() {
    let mut node = Node::new(IsolationMode::Auto);
    let pod = node.pod("early");
    block_on(async { drop(start(&pod, shell("exec sleep 1000"))) });
    drop(pod);
    let dir = node.dir.path().to_owned();
    let stopping = std::thread::spawn(move || {
        stop_all_after_agent(&dir, Duration::ZERO, Duration::from_secs(60)).unwrap()
    });
    // After its end the first pass over all pods is complete; then the agent starts another pod.
    let early = node.pod("early").dir().attempt(&main(), 0);
    eventually("the end of the first pod", || early.exit());
    let pod = node.pod("late");
    block_on(async { drop(start(&pod, shell("echo $$; exec sleep 1000"))) });
    let pid = printed_pid(&pod, 0);
    drop(pod);
    node.runtime = None;
    let report = stopping.join().unwrap();
    assert_eq!(
        (report.stopped.as_slice(), lives(pid)),
        (&["ns/early".to_owned(), "ns/late".to_owned()][..], false)
    );
    assert!(report.alive.is_empty());
}

fn stop_all_kills_the_processes_of_a_lost_shim() {
    for mode in [IsolationMode::Auto, IsolationMode::Plain] {
        let mut node = Node::new(mode);
        let pod = node.pod("p");
        block_on(async {
            drop(start(&pod, shell("sleep 1000 & echo $!; echo $$; exec sleep 1000")));
        });
        let (child, program) = (printed_pid(&pod, 0), printed_pid(&pod, 1));
        let dir = pod.dir().attempt(&main(), 0);
        drop(pod);
        node.runtime = None;
        kill_shim(dir.path());
        eventually("the end of the program", || (!lives(program)).then_some(()));
        eventually("the end of the shim", || (!dir.is_locked()).then_some(()));
        let report = stop_all(node.dir.path(), Duration::ZERO).unwrap();
        assert!(!lives(child), "{mode:?}");
        assert_eq!(report.stopped, ["ns/p"], "{mode:?}");
        node.restart();
    }
}

fn a_removed_pod_leaves_no_process_and_no_folder() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async { drop(start(&pod, shell("echo $$; exec sleep 1000"))) });
    let pid = printed_pid(&pod, 0);
    if pod.record().cgroup.is_none() {
        return;
    }
    pod.remove().unwrap();
    assert!(!lives(pid) && !pod.dir().path().exists());
    assert!(!pod.record().cgroup.as_ref().unwrap().exists());
}

fn a_shim_uses_little_memory() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async {
        let running = start(&pod, shell("echo $$; exec sleep 1000"));
        printed_pid(&pod, 0);
        let run: serde_json::Value =
            serde_json::from_slice(&std::fs::read(running.dir().path().join("run.json")).unwrap())
                .unwrap();
        // Relocations make pages of the program itself dirty, the more the larger an unoptimised
        // test program is; what the shim allocates is elsewhere.
        let program = std::env::current_exe().unwrap();
        let smaps = std::fs::read_to_string(format!("/proc/{}/smaps", run["shim"])).unwrap();
        let (mut own, mut private) = (false, 0_u64);
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("Private_Dirty:") if !own => {
                    private += words.next().unwrap().parse::<u64>().unwrap();
                }
                Some(first) if !first.ends_with(':') => {
                    own = line.ends_with(program.to_str().unwrap());
                }
                _ => {}
            }
        }
        println!("a shim: {private} kB private");
        // The limit detects an additional thread or arena.
        assert!(private < 512, "{smaps}");
    });
}

fn a_full_disk_loses_only_log_lines() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // The attempt has a small file system, which is full before the program prints.
    let mut node = Node::new(IsolationMode::Auto);
    if !node.runtime().isolation().has_mounts() {
        return;
    }
    let pod = node.pod("p");
    let attempt = pod.dir().attempt(&main(), 0);
    std::fs::create_dir_all(attempt.path()).unwrap();
    let _mounted = SmallDisk::mount(attempt.path());
    let go = node.dir.path().join("go");
    let script = format!(
        "echo first; until [ -e {} ]; do sleep 0.01; done; head -c 1000000 /dev/zero | tr '\\0' '\\n'; exit 5",
        go.display()
    );
    let exit = block_on(async {
        let running = start(&pod, shell(&script));
        let filler = attempt.path().join("filler");
        let full =
            std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(filler).unwrap());
        assert!(full.is_err());
        std::fs::write(&go, "").unwrap();
        running.wait().await.unwrap()
    });
    assert_eq!(exit.code, Some(5));
    assert!(exit.dropped_log_lines > 900_000, "{exit:?}");
    drop(pod);
    node.runtime = None;
}

/// A tmpfs of one megabyte, unmounted on drop.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: &std::path::Path) -> Self {
        let options = c"size=1m";
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, options).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
