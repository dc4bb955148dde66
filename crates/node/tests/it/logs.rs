//! Reading logs during and after the run of a container.

use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut};
use jiff::Timestamp;
use mxjob_node::{
    log::read::{Error, Request, open},
    runtime::{Attempt, IsolationMode, ShimCommand},
    state::LogLimits,
};

use crate::node::{Node, block_on, main, run, shell, start};

crate::tests!("logs":
    a_log_reads_as_it_was_printed,
    tail_timestamps_since_and_limit_are_honoured,
    a_followed_log_ends_with_its_container,
    the_previous_attempt_has_its_own_log,
    errors_name_the_missing_log,
    a_follower_gets_every_line_of_a_rotated_log,
    a_log_is_bounded_and_its_end_is_kept,
    a_line_without_end_is_bounded,
);

fn request(pod: &str) -> Request {
    Request { namespace: "ns".to_owned(), pod: pod.to_owned(), ..Request::default() }
}

async fn read(node: &Node, request: &Request) -> Result<String, Error> {
    let stream = open(node.dir.path(), request, Timestamp::now())?;
    let parts: Vec<_> = stream.try_collect().await.unwrap();
    Ok(String::from_utf8(parts.concat()).unwrap())
}

fn a_log_reads_as_it_was_printed() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    run(&pod, shell("printf 'a\\n\\nb %050000d\\nend' 0"));
    let text = block_on(read(&node, &request("p"))).unwrap();
    assert_eq!(text, format!("a\n\nb {}\nend", "0".repeat(50_000)));
}

fn tail_timestamps_since_and_limit_are_honoured() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let exit = run(&pod, shell("echo one; echo two; sleep 0.05; echo three"));
    let base = request("p");
    let check = |request: Request, expect: &str| {
        assert_eq!(block_on(read(&node, &request)).unwrap(), expect, "{request:?}");
    };
    check(Request { tail_lines: Some(1), ..base.clone() }, "three\n");
    check(Request { tail_lines: Some(2), ..base.clone() }, "two\nthree\n");
    check(Request { tail_lines: Some(0), ..base.clone() }, "");
    check(Request { limit_bytes: Some(5), ..base.clone() }, "one\nt");
    check(Request { since_seconds: Some(3600), ..base.clone() }, "one\ntwo\nthree\n");
    check(Request { since_time: Some(exit.finished_at), ..base.clone() }, "");
    check(Request { container: Some("main".to_owned()), ..base.clone() }, "one\ntwo\nthree\n");
    check(Request { uid: Some(pod.record().uid.to_string()), ..base.clone() }, "one\ntwo\nthree\n");
    let text = block_on(read(&node, &Request { timestamps: true, ..base })).unwrap();
    for (line, word) in text.lines().zip(["one", "two", "three"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && rest == word, "{line}");
    }
}

fn a_followed_log_ends_with_its_container() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    let go = node.dir.path().join("go");
    let script = format!("echo one; until [ -e {} ]; do sleep 0.01; done; echo two", go.display());
    block_on(async {
        drop(start(&pod, shell(&script)));
        let followed = Request { follow: true, ..request("p") };
        let stream = open(node.dir.path(), &followed, Timestamp::now()).unwrap();
        pin_mut!(stream);
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        std::fs::write(&go, "").unwrap();
        let rest: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(rest.concat(), b"two\n");
    });
}

fn the_previous_attempt_has_its_own_log() {
    let node = Node::new(IsolationMode::Auto);
    let pod = node.pod("p");
    block_on(async {
        for (attempt, script) in [(0, "echo old; exit 1"), (1, "echo new")] {
            if let Attempt::Running(running) = pod.start(&main(), attempt, shell(script)).unwrap() {
                running.wait().await.unwrap();
            }
        }
        assert_eq!(read(&node, &request("p")).await.unwrap(), "new\n");
        let previous = Request { previous: true, ..request("p") };
        assert_eq!(read(&node, &previous).await.unwrap(), "old\n");
        pod.forget_before(&main(), 1);
        assert!(matches!(read(&node, &previous).await, Err(Error::NoPrevious { .. })));
    });
}

fn errors_name_the_missing_log() {
    let node = Node::new(IsolationMode::Auto);
    let message = |request: Request| block_on(read(&node, &request)).unwrap_err().to_string();
    assert_eq!(message(request("none")), "pod ns/none does not run on this node");
    let pod = node.pod("p");
    assert_eq!(
        message(Request { container: Some("main".to_owned()), ..request("p") }),
        "container \"main\" in pod \"p\" is waiting to start: ContainerCreating"
    );
    run(&pod, shell("true"));
    assert_eq!(
        message(Request { previous: true, ..request("p") }),
        "previous terminated container \"main\" in pod \"p\" not found"
    );
}

/// A node whose logs have these limits.
fn node_with_limits(max_bytes: u64, max_files: u32) -> Node {
    let mut shim = ShimCommand::current_exe().unwrap();
    shim.log = LogLimits { max_bytes, max_files };
    Node::with_shim(IsolationMode::Auto, shim)
}

/// The bytes of all files of the log.
fn log_bytes(node: &Node, pod: &str) -> u64 {
    let folder = node.pod(pod).dir().attempt(&"main".parse().unwrap(), 0).path().to_owned();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let logs = files.filter(|file| file.file_name().to_str().unwrap().starts_with("log"));
    logs.map(|file| file.metadata().unwrap().len()).sum()
}

fn a_follower_gets_every_line_of_a_rotated_log() {
    // Every file is kept, so that also a follower that waits for the processor loses nothing.
    let node = node_with_limits(2048, u32::MAX);
    let pod = node.pod("p");
    let go = node.dir.path().join("go");
    let script = format!(
        "echo begin; until [ -e {} ]; do sleep 0.01; done; seq 50000; printf end",
        go.display()
    );
    block_on(async {
        drop(start(&pod, shell(&script)));
        let followed = Request { follow: true, ..request("p") };
        let stream = open(node.dir.path(), &followed, Timestamp::now()).unwrap();
        pin_mut!(stream);
        assert_eq!(stream.next().await.unwrap().unwrap(), "begin\n");
        std::fs::write(&go, "").unwrap();
        let rest: Vec<_> = stream.try_collect().await.unwrap();
        let numbers: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
        assert!(String::from_utf8(rest.concat()).unwrap() == format!("{numbers}end"));
        let rotated = pod.dir().attempt(&main(), 0).rotated_logs().unwrap();
        assert!(rotated.len() > 10, "{rotated:?}");
        // Reading from the beginning and from the end crosses the same files.
        let all = read(&node, &request("p")).await.unwrap();
        assert!(all == format!("begin\n{numbers}end"));
        for lines in [1, 2, 500, 5_000] {
            let tail = read(&node, &Request { tail_lines: Some(lines), ..request("p") }).await;
            let first = 50_000 - lines + 2;
            let numbers: String = (first..=50_000).map(|number| format!("{number}\n")).collect();
            assert!(tail.unwrap() == format!("{numbers}end"), "{lines} lines");
        }
        let limited = Request { limit_bytes: Some(50_000), ..request("p") };
        assert!(read(&node, &limited).await.unwrap() == all[..50_000]);
    });
}

fn a_log_is_bounded_and_its_end_is_kept() {
    let node = node_with_limits(100_000, 3);
    run(&node.pod("p"), shell("seq 200000"));
    assert!(log_bytes(&node, "p") < 1_500_000, "{}", log_bytes(&node, "p"));
    let text = block_on(read(&node, &request("p"))).unwrap();
    let first: u32 = text.lines().next().unwrap().parse().unwrap();
    let kept: String = (first..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(first > 1 && text == kept);
    let tail = Request { tail_lines: Some(200_000), ..request("p") };
    assert!(block_on(read(&node, &tail)).unwrap() == text);
}

fn a_line_without_end_is_bounded() {
    let node = node_with_limits(100_000, 3);
    let exit = run(&node.pod("p"), shell("head -c 30000000 /dev/zero | tr '\\0' x; exit 3"));
    assert!(log_bytes(&node, "p") < 400_000);
    assert!(exit.message.unwrap().len() <= 4096);
    let text = block_on(read(&node, &request("p"))).unwrap();
    assert!(text.len() > 100_000 && text.bytes().all(|byte| byte == b'x'));
}
