//! Mount points in the root of a container. Nothing of them remains on the machine.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use mxjob_node::{
    runtime::{Attempt, Command, IsolationMode},
    state::Bind,
};

use crate::node::{Node, block_on, lines, run, shell};

crate::tests!("mounts":
    missing_mount_points_are_made_in_the_pods_root_only,
    a_file_is_mounted_at_a_missing_path,
    links_lead_to_a_place_inside_the_root,
    invalid_targets_are_refused,
    the_working_directory_gets_its_mount_points,
    a_folder_for_everybody_stays_writable,
    mounts_lie_in_each_other,
    a_volume_replaces_the_hosts_file,
    many_mounts_work,
    a_folder_with_too_many_entries_is_refused,
    a_read_only_root_has_writable_volumes,
    shared_memory_is_the_pods_own,
);

/// A node that may mount, or `None`.
pub(crate) fn node() -> Option<Node> {
    let node = Node::new(IsolationMode::Auto);
    if let Some(why) = node.runtime().isolation().why_no_mounts() {
        println!("skipped: {why}");
        return None;
    }
    Some(node)
}

pub(crate) fn bind(source: &Path, target: impl AsRef<Path>) -> Bind {
    Bind {
        source: source.to_owned(),
        sub_path: None,
        target: target.as_ref().to_owned(),
        read_only: false,
    }
}

/// A folder with a file `file` that has the content `content`.
pub(crate) fn source() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content\n").unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

pub(crate) fn with(script: &str, binds: Vec<Bind>) -> Command {
    Command { binds, ..shell(script) }
}

/// A name that no other process uses.
fn unique(name: &str) -> String {
    format!("mxjob-{name}-{}", std::process::id())
}

fn missing_mount_points_are_made_in_the_pods_root_only() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("old"), "old\n").unwrap();
    symlink("old", base.path().join("link")).unwrap();
    let top = Path::new("/").join(unique("top"));
    let etc = Path::new("/etc").join(unique("etc")).join("a/b");
    let below = base.path().join("new/a");
    let pod = node.pod("p");
    let before = fs::read_dir("/").unwrap().count();
    let script = format!(
        "cat {}/file {}/file {}/file {base}/link
         touch /{name} {base}/{name} 2>/dev/null || echo read-only
         echo more >> {base}/old; ls -A / | wc -l; cat /etc/hostname > /dev/null && echo etc",
        top.display(),
        etc.display(),
        below.display(),
        base = base.path().display(),
        name = unique("new"),
    );
    let exit =
        run(&pod, with(&script, [&top, &etc, &below].map(|target| bind(&source, target)).into()));
    assert!(exit.succeeded(), "{exit:?}");
    let entries = (before + 1).to_string();
    assert_eq!(lines(&pod), ["content", "content", "content", "old", "read-only", &entries, "etc"]);
    // What was there is the real thing, and no mount point remains.
    assert_eq!(fs::read_to_string(base.path().join("old")).unwrap(), "old\nmore\n");
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 2);
    assert!(!top.exists() && !etc.exists() && !etc.parent().unwrap().exists());
}

fn a_file_is_mounted_at_a_missing_path() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let target = Path::new("/").join(unique("dir")).join("termination-log");
    let pod = node.pod("p");
    let script = format!("echo more >> {}", target.display());
    let exit = run(&pod, with(&script, vec![bind(&source.join("file"), &target)]));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "content\nmore\n");
    assert!(!target.exists());
}

fn links_lead_to_a_place_inside_the_root() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let base = tempfile::tempdir().unwrap();
    let (real, link) = (base.path().join("real"), base.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let missing = Path::new("/").join(unique("far")).join("x");
    symlink(&missing, base.path().join("dangling")).unwrap();
    // The text of a link of /proc, which is no way out of the container.
    symlink("/proc/1/root", base.path().join("magic")).unwrap();
    let pod = node.pod("p");
    let targets = [link.clone(), link.join("deep/er"), base.path().join("dangling/y")];
    let script = format!("cat {}/file {}/y/file", real.display(), missing.display());
    let exit = run(
        &pod,
        with(
            &script,
            targets[..1].iter().chain(&targets[2..]).map(|target| bind(&source, target)).collect(),
        ),
    );
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["content", "content"]);
    let pod = node.pod("q");
    let script = format!("cat {}/deep/er/file", real.display());
    let exit = run(&pod, with(&script, vec![bind(&source, &targets[1])]));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
    let pod = node.pod("r");
    let target = base.path().join("magic").join(unique("in-magic"));
    let exit = run(&pod, with("true", vec![bind(&source, &target)]));
    assert!(!Path::new("/").join(unique("in-magic")).exists(), "{exit:?}");
}

fn invalid_targets_are_refused() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let base = tempfile::tempdir().unwrap();
    symlink("loop", base.path().join("loop")).unwrap();
    fs::write(base.path().join("file"), "").unwrap();
    for (number, (target, message)) in [
        (Path::new("/").to_owned(), "nothing can be mounted at /"),
        ("/..".into(), "nothing can be mounted at /"),
        ("/proc".into(), "nothing can be mounted inside of /proc"),
        ("/proc/self/attr".into(), "nothing can be mounted inside of /proc"),
        ("/proc/none/x".into(), "nothing can be mounted inside of /proc"),
        (base.path().join("loop"), "symbolic link"),
        (base.path().join("file"), "Not a directory"),
        (base.path().join("file/below"), "Not a directory"),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = node.pod(&format!("p{number}"));
        let exit = run(&pod, with("true", vec![bind(&source, &target)]));
        assert_eq!(exit.code, Some(128), "{target:?} {exit:?}");
        let text = exit.message.unwrap();
        assert!(text.contains(message) && text.contains(target.to_str().unwrap()), "{text}");
    }
}

fn the_working_directory_gets_its_mount_points() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let home = tempfile::tempdir().unwrap();
    let pod = node.pod("p");
    let mut command =
        with("cat data/file; echo x > own", vec![bind(&source, home.path().join("data"))]);
    command.cwd = home.path().to_owned();
    let exit = run(&pod, command);
    assert!(exit.succeeded(), "{exit:?}");
    // The rest of the user's folder stays as it is: writable, and on disk.
    assert_eq!(fs::read_to_string(home.path().join("own")).unwrap(), "x\n");
    assert_eq!(fs::read_dir(home.path().join("data")).unwrap().count(), 0);
}

fn a_folder_for_everybody_stays_writable() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let base = PathBuf::from("/tmp").join(unique("everybody"));
    let pod = node.pod("p");
    let script =
        format!("cat {}/file; mktemp -p /tmp >/dev/null && echo temporary", base.display());
    let exit = run(&pod, with(&script, vec![bind(&source, &base)]));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["content", "temporary"]);
    assert!(!base.exists());
}

fn mounts_lie_in_each_other() {
    let Some(node) = node() else { return };
    let ((_one, outer), (_two, inner)) = (source(), source());
    fs::write(inner.join("file"), "inner\n").unwrap();
    let base = Path::new("/").join(unique("nested"));
    let pod = node.pod("p");
    let script = format!("cat {0}/file {0}/a/b/file {0}2/file", base.display());
    // The order of the list does not matter.
    let mut read_only = bind(&inner, base.join("a/b"));
    read_only.read_only = true;
    let other = PathBuf::from(format!("{}2", base.display()));
    let binds = vec![read_only, bind(&outer, &base), bind(&outer, &other)];
    let exit = run(&pod, with(&script, binds));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["content", "inner", "content"]);
    // In a volume the mount point is made, as in Kubernetes; in a read-only one it cannot be.
    assert!(outer.join("a/b").is_dir());
    let (_three, third) = source();
    let mut read_only = bind(&third, &base);
    read_only.read_only = true;
    let pod = node.pod("q");
    let script = format!(
        "cat {0}/file {0}/a/file; touch {0}/x 2>/dev/null || echo read-only",
        base.display()
    );
    run(&pod, with(&script, vec![bind(&inner, base.join("a")), read_only]));
    assert_eq!(lines(&pod), ["content", "inner", "read-only"]);
    assert_eq!(fs::read_dir(&third).unwrap().count(), 1);
}

fn a_volume_replaces_the_hosts_file() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let pod = node.pod("p");
    let exit = run(&pod, with("cat /etc/hosts", vec![bind(&source.join("file"), "/etc/hosts")]));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["content"]);
    let pod = node.pod("q");
    let mut all = bind(&source, "/etc");
    all.read_only = true;
    let exit = run(&pod, with("cat /etc/file /etc/hosts", vec![all]));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["content", "127.0.0.1 localhost"]);
    assert!(!source.join("hosts").exists());
}

fn many_mounts_work() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let base = Path::new("/").join(unique("many"));
    let binds = (0..200).map(|number| bind(&source, base.join(number.to_string()))).collect();
    let pod = node.pod("p");
    let exit = run(&pod, with(&format!("cat {}/*/file | wc -l", base.display()), binds));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["200"]);
}

fn a_folder_with_too_many_entries_is_refused() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let base = tempfile::tempdir().unwrap();
    for number in 0..2000 {
        fs::write(base.path().join(number.to_string()), "").unwrap();
    }
    let target = base.path().join("new");
    let pod = node.pod("p");
    let script = format!("ls {} | wc -l", base.path().display());
    let exit = run(&pod, with(&script, vec![bind(&source, &target)]));
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), ["2001"]);
    fs::write(base.path().join("one-more"), "").unwrap();
    let exit = run(&node.pod("q"), with("true", vec![bind(&source, &target)]));
    let message = exit.message.unwrap();
    assert!(message.contains("more than 2000 entries"), "{message}");
}

fn a_read_only_root_has_writable_volumes() {
    let Some(node) = node() else { return };
    let (_dir, source) = source();
    let home = tempfile::tempdir().unwrap();
    let pod = node.pod("p");
    let target = Path::new("/").join(unique("volume"));
    let script = format!(
        "for file in {0}/new /tmp/{1} {2}/new /dev/shm/new; do (echo x > $file) 2>/dev/null && echo $file; done; echo > /dev/null; echo 0 > /proc/self/oom_score_adj && echo end",
        target.display(),
        unique("root"),
        home.path().display(),
    );
    let mut command = with(&script, vec![bind(&source, &target)]);
    command.cwd = home.path().to_owned();
    command.security.read_only_root = true;
    let exit = run(&pod, command);
    assert!(exit.succeeded(), "{exit:?}");
    assert_eq!(lines(&pod), [&format!("{}/new", target.display()), "/dev/shm/new", "end"]);
    assert!(source.join("new").exists());
}

fn shared_memory_is_the_pods_own() {
    let Some(node) = node() else { return };
    let name = unique("shm");
    let pod = node.pod("p");
    run(&pod, shell(&format!("echo x > /dev/shm/{name}; stat -c %a /dev/shm")));
    assert_eq!(lines(&pod), ["1777"]);
    assert!(!Path::new("/dev/shm").join(&name).exists());
    // The next container of the pod sees it, and other pods do not.
    let exit = block_on(async {
        let again = shell(&format!("cat /dev/shm/{name}"));
        match pod.start(&"second".parse().unwrap(), 0, again).unwrap() {
            Attempt::Running(running) => running.wait().await.unwrap(),
            Attempt::Ended(exit) => exit,
            Attempt::NotStarted => panic!("not started"),
        }
    });
    assert!(exit.succeeded(), "{exit:?}");
    let other = node.pod("q");
    run(&other, shell("ls -A /dev/shm; echo end"));
    assert_eq!(lines(&other), ["end"]);
}
