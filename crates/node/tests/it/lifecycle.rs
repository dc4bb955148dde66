//! How programs start and end.

use std::path::Path;

use mxjob_node::{
    runtime::{Attempt, IsolationMode, Sandbox},
    state::{DnsLabel, ExitReason, ExitRecord},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::node::{Node, argv, block_on, lines, lives, log, main, printed_pid, run, shell, start};

crate::tests!("lifecycle":
    exit_codes_and_signals_are_recorded,
    a_program_that_cannot_run_is_a_start_error,
    a_missing_working_directory_is_a_start_error,
    the_log_is_in_cri_format,
    a_remaining_process_does_not_delay_the_end,
    a_process_in_its_own_session_is_killed_with_the_container,
    termination_reaches_every_process,
    a_process_that_ignores_termination_is_killed_after_the_grace_period,
    a_second_request_can_only_shorten_the_grace_period,
    an_attempt_is_run_once,
    a_container_may_be_named_like_a_file_of_the_pod,
    programs_run_as_the_requested_user,
    exit_records_have_the_last_line,
);

const MODES: [IsolationMode; 2] = [IsolationMode::Auto, IsolationMode::Plain];

fn check(script: &str, expect: impl Fn(&ExitRecord) -> bool) {
    for mode in MODES {
        let node = Node::new(mode);
        let exit = run(&node.pod("p"), shell(script));
        assert!(expect(&exit), "{script} ({mode:?}): {exit:?}");
    }
}

fn exit_codes_and_signals_are_recorded() {
    check("exit 0", |exit| exit.succeeded() && exit.reason == ExitReason::Completed);
    check("exit 3", |exit| exit.code == Some(3) && exit.reason == ExitReason::Error);
    check("exit 255", |exit| exit.exit_code() == Some(255));
    check("kill -9 $$", |exit| exit.signal == Some(9) && exit.exit_code() == Some(137));
    check("kill -TERM $$", |exit| exit.code.is_none() && exit.exit_code() == Some(143));
    check("sleep 0.01", |exit| exit.started_at.unwrap() < exit.finished_at);
}

fn a_program_that_cannot_run_is_a_start_error() {
    for (word, code) in
        [("no-such-program", 127), ("/no/such", 127), ("/etc/passwd", 126), ("/", 126)]
    {
        let node = Node::new(IsolationMode::Auto);
        let exit = run(&node.pod("p"), argv(&[word]));
        assert_eq!((exit.code, exit.reason), (Some(code), ExitReason::StartError), "{exit:?}");
        assert!(exit.message.unwrap().contains(word));
        assert_eq!(exit.started_at, None);
    }
}

fn a_missing_working_directory_is_a_start_error() {
    let node = Node::new(IsolationMode::Auto);
    let mut command = shell("true");
    command.cwd = "/no/such/folder".into();
    let exit = run(&node.pod("p"), command);
    assert_eq!((exit.code, exit.reason), (Some(127), ExitReason::StartError));
    assert!(exit.message.unwrap().contains("/no/such/folder"));
}

fn the_log_is_in_cri_format() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let script = r#"printf 'one\n\ntwo\r\n'; printf 'long%016380dtail\n' 0; printf 'open'"#;
    run(&pod, shell(script));
    let log = log(&pod);
    let mut texts = Vec::new();
    for line in log.lines() {
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        texts.push(text);
    }
    let long = format!("stdout P long{}", "0".repeat(16_380));
    assert_eq!(
        texts,
        ["stdout F one", "stdout F ", "stdout F two", &long, "stdout F tail", "stdout P open"]
    );
    let pod = node.pod("q");
    run(&pod, shell("echo bad >&2"));
    assert!(crate::node::log(&pod).ends_with("Z stderr F bad\n"));
}

fn a_remaining_process_does_not_delay_the_end() {
    for mode in MODES {
        let node = Node::new(mode);
        let pod = node.pod("p");
        let begin = std::time::Instant::now();
        let exit = run(&pod, shell("sleep 1000 & echo $!; exit 4"));
        assert_eq!(exit.code, Some(4));
        assert!(begin.elapsed().as_secs() < 60);
        assert!(!lives(printed_pid(&pod, 0)), "{mode:?}");
    }
}

/// A re-parented process in its own session, without open descriptors.
const ESCAPEE: &str = "setsid sh -c 'echo $$; exec sleep 1000' </dev/null & ";

fn a_process_in_its_own_session_is_killed_with_the_container() {
    for mode in MODES {
        let node = Node::new(mode);
        let pod = node.pod("p");
        // The program waits for output of the process, so it has certainly left the session.
        let script = "{ setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & } | { read pid; echo $pid; }";
        let exit = run(&pod, shell(script));
        assert_eq!(exit.code, Some(0), "{mode:?}");
        assert!(!lives(printed_pid(&pod, 0)), "{mode:?}");
    }
}

fn terminated(pod: &Sandbox, script: &str, grace: u64) -> ExitRecord {
    block_on(async {
        let running = start(pod, shell(script));
        printed_pid(pod, 0);
        running.terminate(grace).unwrap();
        running.wait().await.unwrap()
    })
}

fn termination_reaches_every_process() {
    for mode in MODES {
        let node = Node::new(mode);
        let pod = node.pod("p");
        let exit = terminated(
            &pod,
            &format!("{ESCAPEE} trap 'echo bye; exit 7' TERM; while :; do sleep 0.01; done"),
            1000,
        );
        assert_eq!(exit.code, Some(7), "{mode:?}");
        assert!(lines(&pod).contains(&"bye".to_owned()));
        assert!(!lives(printed_pid(&pod, 0)));
    }
}

fn a_process_that_ignores_termination_is_killed_after_the_grace_period() {
    for mode in MODES {
        let node = Node::new(mode);
        let pod = node.pod("p");
        let script = "trap '' TERM; echo $$; while :; do sleep 1000; done";
        let exit = terminated(&pod, script, 1);
        assert_eq!(exit.signal, Some(9), "{mode:?}");
        assert!(!lives(printed_pid(&pod, 0)));
    }
}

fn a_second_request_can_only_shorten_the_grace_period() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async {
        let running = start(&pod, shell("trap '' TERM; echo $$; while :; do sleep 1000; done"));
        printed_pid(&pod, 0);
        running.terminate(1000).unwrap();
        running.terminate(0).unwrap();
        assert_eq!(running.wait().await.unwrap().signal, Some(9));
    });
}

fn an_attempt_is_run_once() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async {
        let running = start(&pod, shell("echo $$; exec sleep 1000"));
        assert!(matches!(pod.start(&main(), 0, shell("echo twice")).unwrap(), Attempt::Running(_)));
        printed_pid(&pod, 0);
        running.terminate(0).unwrap();
        running.wait().await.unwrap();
        assert!(matches!(pod.start(&main(), 0, shell("echo twice")).unwrap(), Attempt::Ended(_)));
    });
    assert_eq!(lines(&pod).len(), 1);
}

fn programs_run_as_the_requested_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let mut command = shell("id -u; id -g; id -G");
    (command.user, command.group) = (Some(1234), Some(2345));
    run(&pod, command);
    assert_eq!(lines(&pod), ["1234", "2345", "2345"]);

    // The parent death signal survives the change of user.
    let pod = node.pod("q");
    let mut command = shell("echo $$; exec sleep 1000");
    command.user = Some(1234);
    block_on(async {
        let running = start(&pod, command);
        let program = printed_pid(&pod, 0);
        kill_shim(running.dir().path());
        running.wait().await.unwrap();
        assert!(!lives(program));
    });
}

pub(crate) fn kill_shim(attempt: &Path) {
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(attempt.join("run.json")).unwrap()).unwrap();
    let pid = i32::try_from(run["shim"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn a_container_may_be_named_like_a_file_of_the_pod() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    for name in ["hosts", "pod"] {
        let exit = block_on(async {
            match pod.start(&name.parse().unwrap(), 0, shell("exit 7")).unwrap() {
                Attempt::Running(running) => running.wait().await.unwrap(),
                Attempt::Ended(exit) => exit,
                Attempt::NotStarted => panic!("{name} does not run"),
            }
        });
        assert_eq!(exit.code, Some(7), "{name}");
    }
    let containers = pod.dir().containers();
    assert_eq!(containers.iter().map(DnsLabel::as_str).collect::<Vec<_>>(), ["hosts", "pod"]);
}

fn exit_records_have_the_last_line() {
    check("echo fine; echo broken >&2; exit 3", |exit| exit.message.as_deref() == Some("broken"));
    check("echo fine", |exit| exit.message.is_none());
}
