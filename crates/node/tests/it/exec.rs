//! Commands in running containers, with and without cgroups and mounts.

use futures_util::{StreamExt as _, TryStreamExt as _};
use mxjob_node::{
    exec::{Error, Request, Session},
    runtime::IsolationMode,
};
use serde_json::json;

use crate::{
    node::{eventually, lives},
    site::{Site, block_on, shell},
};

crate::tests!("exec":
    a_command_has_the_environment_folder_and_user_of_the_container,
    stdout_and_stderr_are_separate,
    input_ends_when_its_writer_is_dropped,
    a_terminal_combines_stdout_and_stderr,
    a_dropped_command_is_killed_with_its_children,
    a_command_is_killed_with_its_container,
    a_command_in_an_ended_container_is_rejected,
);

const MODES: [IsolationMode; 2] = [IsolationMode::Auto, IsolationMode::Plain];

/// Runs a test in both modes, with a running pod.
fn with_pod(test: impl AsyncFn(&Site, &str)) {
    for mode in MODES {
        block_on(async {
            let site = Site::new(mode);
            let mut spec = shell("exec sleep 1000");
            spec["containers"][0]["env"] = json!([{ "name": "HELLO", "value": "world" }]);
            spec["containers"][0]["workingDir"] = "/usr".into();
            let name = site.create("p", spec);
            let pod = site.phase(&name, "Running").await;
            test(&site, pod["metadata"]["uid"].as_str().unwrap()).await;
        });
    }
}

fn start(site: &Site, uid: &str, script: &str, tty: bool) -> Result<Session, Error> {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let (uid, container) = (uid.to_owned(), "mxnet".to_owned());
    let request = Request { uid, container, command, stdin: true, stdout: true, stderr: !tty, tty };
    site.handle.as_ref().unwrap().exec(&request)
}

/// Runs a command to its end. Returns its stdout, its stderr and its exit code.
pub(crate) async fn run(site: &Site, uid: &str, script: &str) -> (String, String, i32) {
    let session = start(site, uid, script, false).unwrap();
    drop(session.stdin);
    let text = async |reader: mxjob_node::exec::Reader| {
        let parts: Vec<_> = reader.into_stream().try_collect().await.unwrap();
        String::from_utf8(parts.concat()).unwrap()
    };
    let (stdout, stderr) =
        tokio::join!(text(session.stdout.unwrap()), text(session.stderr.unwrap()));
    (stdout, stderr, session.program.wait().await.unwrap())
}

/// Starts a script that prints a process id first, and waits for it.
async fn printed(site: &Site, uid: &str, script: &str) -> (i32, Session) {
    let mut session = start(site, uid, script, false).unwrap();
    let mut output = Box::pin(session.stdout.take().unwrap().into_stream());
    let mut text = String::new();
    while !text.ends_with('\n') {
        text.push_str(std::str::from_utf8(&output.next().await.unwrap().unwrap()).unwrap());
    }
    (text.trim().parse().unwrap(), session)
}

async fn until_gone(pid: i32) {
    let gone = move || eventually("the end of the command", || (!lives(pid)).then_some(()));
    tokio::task::spawn_blocking(gone).await.unwrap();
}

fn a_command_has_the_environment_folder_and_user_of_the_container() {
    with_pod(async |site, uid| {
        let (stdout, stderr, code) =
            run(site, uid, "echo $HELLO; pwd; [ \"$(id -u)\" = \"$(stat -c %u .)\" ]").await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("world\n/usr\n", ""));
        // `/usr` belongs to root, and the command runs as the user of the agent.
        assert_eq!(code, i32::from(!rustix::process::geteuid().is_root()));
    });
}

fn stdout_and_stderr_are_separate() {
    with_pod(async |site, uid| {
        let (stdout, stderr, code) = run(site, uid, "echo out; echo err >&2; exit 3").await;
        assert_eq!((stdout.as_str(), stderr.as_str(), code), ("out\n", "err\n", 3));
        assert_eq!(run(site, uid, "kill -TERM $$").await.2, 143);
    });
}

fn input_ends_when_its_writer_is_dropped() {
    with_pod(async |site, uid| {
        let mut session = start(site, uid, "wc -c", false).unwrap();
        let stdin = session.stdin.take().unwrap();
        stdin.write(&vec![7; 300_000]).await.unwrap();
        drop(stdin);
        let parts: Vec<_> = session.stdout.unwrap().into_stream().try_collect().await.unwrap();
        assert_eq!(parts.concat(), b"300000\n");
        assert_eq!(session.program.wait().await.unwrap(), 0);
    });
}

fn a_terminal_combines_stdout_and_stderr() {
    with_pod(async |site, uid| {
        let script = "read line; stty size; echo $line $TERM >&2; test -t 0 -a -t 1 -a -t 2";
        let session = start(site, uid, script, true).unwrap();
        session.terminal.as_ref().unwrap().resize(91, 31);
        session.stdin.as_ref().unwrap().write(b"word\n").await.unwrap();
        let parts: Vec<_> = session.stdout.unwrap().into_stream().try_collect().await.unwrap();
        let text = String::from_utf8(parts.concat()).unwrap();
        assert!(text.ends_with("31 91\r\nword xterm\r\n"), "{text:?}");
        assert_eq!(session.program.wait().await.unwrap(), 0);
    });
}

fn a_dropped_command_is_killed_with_its_children() {
    with_pod(async |site, uid| {
        let (pid, session) = printed(site, uid, "sleep 1000 & echo $!; wait").await;
        assert!(lives(pid));
        drop(session);
        until_gone(pid).await;
    });
}

fn a_command_is_killed_with_its_container() {
    with_pod(async |site, uid| {
        let (pid, session) = printed(site, uid, "echo $$; exec sleep 1000").await;
        let end = tokio::spawn(session.program.wait());
        site.delete("p", 0);
        assert_eq!(end.await.unwrap().unwrap(), 137);
        until_gone(pid).await;
    });
}

fn a_command_in_an_ended_container_is_rejected() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let name = site.create("p", shell("true"));
        let pod = site.phase(&name, "Succeeded").await;
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        assert!(matches!(start(&site, uid, "true", false), Err(Error::NotRunning { .. })));
        assert!(matches!(start(&site, "none", "true", false), Err(Error::NotRunning { .. })));
    });
}
